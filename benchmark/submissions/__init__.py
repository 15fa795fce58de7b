"""Submissions: results that one person packs and everybody can check, and boards that are built from them."""
