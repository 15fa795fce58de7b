"""Image captions: a function from photos and background tags to text, with any image-to-text checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from olrd.arrays import Image
from olrd.models.checkpoints import choose_device, load_model, load_processor, require

CHECKPOINT = "llava-hf/llava-1.5-7b-hf"
PROMPT = "Describe the {tags} in the background of this photo."
"""The question. `{tags}` is replaced by the names of the background regions, e.g. "sky, grass and road"."""
MAX_NEW_TOKENS = 77
NO_TAGS = "scene"
_PLAIN_CHAT = ("llava", "llava_next", "vipllava")
"""Model types that use LLaVA's plain dialogue form when the checkpoint has no chat template."""


class Captioner:
    """A loaded captioning checkpoint. Decoding is greedy, so captions are deterministic.

    Args:
        checkpoint: hub name or local folder: LLaVA and others with a chat template, or BLIP-like ones that take no
            question.
        revision: a commit, tag or branch to pin.
        device: auto, cpu, cuda, cuda:N, mps.
        prompt: the question; it may hold `{tags}`.
        max_new_tokens: length limit of a caption.

    Raises:
        SourceError: the checkpoint cannot be loaded.
        UsageError: the device does not exist.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(
        self,
        checkpoint: str = CHECKPOINT,
        revision: str | None = None,
        device: str = "auto",
        prompt: str = PROMPT,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> None:
        what = "captioning"
        transformers = require("transformers", what)
        self.checkpoint, self.revision, self.prompt = checkpoint, revision, prompt
        self.device, self.max_new_tokens = choose_device(device, what), max_new_tokens
        # Half precision on a GPU alone: a CPU is slow with it, and on a GPU 7 billion weights need it.
        precision = "float16" if self.device.startswith("cuda") else "float32"
        self._processor = load_processor(transformers.AutoProcessor, checkpoint, revision)
        model_class = transformers.AutoModelForImageTextToText
        model = load_model(model_class, checkpoint, revision, dtype=precision)
        self._model = model.to(self.device)
        self.commit: str | None = getattr(model.config, "_commit_hash", None)
        # Prompts are padded at the front, so that each answer starts right after its prompt.
        self._processor.tokenizer.padding_side = "left"

    def caption(self, photos: Sequence[Image], tags: Sequence[Sequence[str]]) -> list[str]:
        """One line of text for each photo (uint8 [H, W, 3]) about its background, whose regions are named by tags."""
        import torch
        from PIL import Image as Pillow

        if not photos:
            return []
        pictures = [Pillow.fromarray(photo) for photo in photos]
        prompts = [self._dialogue(question(self.prompt, names)) for names in tags]
        texts: dict[str, Any] = {}
        if None not in prompts:
            # Some chat templates write the start token: the tokenizer must not add a second one.
            start = self._processor.tokenizer.bos_token or "\0"
            special = not str(prompts[0]).startswith(start)
            texts = {"text": prompts, "padding": True, "add_special_tokens": special}
        inputs = self._processor(images=pictures, return_tensors="pt", **texts)
        inputs = inputs.to(self.device, self._model.dtype)
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=self.max_new_tokens,
            )
        answers = self._processor.batch_decode(
            without_prompt(tokens, inputs.get("input_ids")), skip_special_tokens=True
        )
        return [" ".join(answer.split()) for answer in answers]

    def _dialogue(self, text: str) -> str | None:
        """The question in the form that the checkpoint expects; None for a checkpoint that takes no question."""
        if getattr(self._processor, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": text}]
            dialogue: str = self._processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            return dialogue
        if self._model.config.model_type in _PLAIN_CHAT:
            return f"USER: {self._processor.image_token}\n{text} ASSISTANT:"
        return None


def question(prompt: str, tags: Sequence[str]) -> str:
    """The prompt with `{tags}` replaced by an English list of the tags, each once, in order."""
    names = list(dict.fromkeys(tags)) or [NO_TAGS]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return prompt.replace("{tags}", listed)


def without_prompt(tokens: Any, prompt: Any | None) -> Any:
    """Generated tokens [B, T] without the prompt's [B, P], if they start with it.

    Some models return the prompt before the answer. The paper's script leaves it in every caption.
    """
    if prompt is None:
        return tokens
    length = prompt.shape[1]
    repeated = tokens.shape[1] >= length and bool((tokens[:, :length] == prompt).all())
    return tokens[:, length:] if repeated else tokens
