"""Runs a counting provider until it is ended: prints its URL on the first line; ``GET /bill`` gives the bill."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import parse_usd
from toolorchestra.core.pricing import Price
from toolorchestra.executors.testing.answers import SimulatedExpert
from toolorchestra.executors.testing.behaviour import Behaviour, from_fields
from toolorchestra.executors.testing.provider import HOST, CountingProvider, ProviderConfig


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT, or with ``--watch-stdin`` until standard input closes."""
    options = _parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if options.watch_stdin:
        threading.Thread(target=_wait_for_stdin, args=(ended,), daemon=True).start()
    behaviour = from_fields(Behaviour(), json.loads(options.behaviour))
    provider = CountingProvider(_config(options), behaviour=behaviour).start(options.port, host=options.host)
    sys.stdout.write(f"{provider.url}\n")
    sys.stdout.flush()
    ended.wait()
    provider.stop()


def read_simulated(path: Path) -> SimulatedExpert:
    """A file like ``{"answers": [{"facts": ["Paris"], "answer": "2.1 million"}], "otherwise": "I do not know."}``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        answers = [(list(entry["facts"]), str(entry["answer"])) for entry in found.get("answers", ())]
        otherwise = found.get("otherwise")
        return SimulatedExpert(answers) if otherwise is None else SimulatedExpert(answers, str(otherwise))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequestError(f"{path}: not a file of simulated answers: {error}", param="--simulated") from error


def _config(options: argparse.Namespace) -> ProviderConfig:
    return ProviderConfig(
        models=options.model or ["counting"],
        price=Price(input=parse_usd(options.price_input), output=parse_usd(options.price_output)),
        api_key=options.api_key,
        base_path=options.base_path,
        simulated=read_simulated(options.simulated) if options.simulated else None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m toolorchestra.executors.testing", description=__doc__)
    parser.add_argument("--host", default=HOST, help="address to listen on, e.g. 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--model", action="append", help="a model's name; may be repeated")
    parser.add_argument("--price-input", default="1", help="US dollars per million input tokens")
    parser.add_argument("--price-output", default="2", help="US dollars per million output tokens")
    parser.add_argument("--api-key", default=None, help="the only key that is accepted; default: any or none")
    parser.add_argument("--base-path", default="/v1", help="where the API lies")
    parser.add_argument("--behaviour", default="{}", help='JSON, e.g. {"tokens": 50, "delay_ms": 5}')
    parser.add_argument("--simulated", type=Path, default=None, help="answer as a simulated expert from this JSON file")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input closes")
    return parser


def _wait_for_stdin(ended: threading.Event) -> None:
    while sys.stdin.buffer.read(4_096):
        pass
    ended.set()


if __name__ == "__main__":
    main(sys.argv[1:])
