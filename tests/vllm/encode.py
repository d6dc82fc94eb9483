"""``python encode.py MODEL``: token ids of texts as training has them from Hugging Face; JSON in, JSON out."""

import json
import sys

from transformers import AutoTokenizer

from toolorchestra.training.grpo.tokens import HfCodec

codec = HfCodec(AutoTokenizer.from_pretrained(sys.argv[1]))
print(json.dumps([codec.encode(text) for text in json.load(sys.stdin)]))
