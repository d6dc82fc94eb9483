#!/usr/bin/env bash
# Serves the small model with vLLM on this machine's CPU, as an OpenAI API on loopback; sets up what is missing first.
# usage: serve.sh [OPTION OF VLLM…]      for example: serve.sh --port 8100
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$("$here/setup.sh")
# Three processes import torch and vLLM; compiled once and kept, that takes half as long.
unset PYTHONDONTWRITEBYTECODE
export VLLM_CACHE_ROOT=$folder/cache VLLM_HOST_IP=127.0.0.1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export VLLM_ALLOW_RUNTIME_LORA_UPDATING=True # where --enable-lora is among the options; only this machine can reach it
# Compiling would take minutes at every start. Without the strict level only the name of a forced call would be right, and
# with whitespace allowed a small model may write nothing else.
exec "$folder/venv/bin/python" -m vllm.entrypoints.openai.api_server \
  --model "$folder/model" --served-model-name smollm2 --host 127.0.0.1 \
  --max-model-len 2048 --max-num-seqs 8 --kv-cache-memory-bytes 256M --enforce-eager \
  --chat-template "$here/chat-template.jinja" --enable-auto-tool-choice --tool-call-parser hermes \
  --tool-strict-level parameter --enable-prompt-tokens-details \
  --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}' "$@"
