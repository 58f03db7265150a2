"""Starts the page: `python app.py`. Reads the arguments, prepares the surroundings, opens the workspace, serves it."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from app.logins import Logins, line_of
from app.zero_gpu import lender
from ssa_me.cli import needs_hub
from ssa_me.errors import InputError

HERE = Path(__file__).parent
QUEUED, AT_ONCE = 64, 4
"""How many questions wait at most, and how many of a kind are answered at once. ZeroGPU's own default is a queue of one."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="SSA-ME studio: a page where baseline and SSA-ME answer the same query side by side.",
    )
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    parser.add_argument("--host", default=host, help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=None, help="port to listen on (default: $PORT, or 7860)")
    parser.add_argument(
        "--checkpoint",
        help="folder of a checkpoint, or a hub's id, downloaded once (default: the embedded mini model)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--expert",
        default="opencv",
        help="of the full salience: opencv, clipseg:FOLDER or grounded-sam:DINO_FOLDER,SAM_FOLDER (default: opencv)",
    )
    parser.add_argument(
        "--workspace", type=Path, default=HERE / "workspace", help="folder for all that is written"
    )
    parser.add_argument(
        "--public",
        action=argparse.BooleanOptionalAction,
        default="SPACE_ID" in os.environ,
        help="for a public page: nobody can make a gallery, annotate or train (default: on a Space)",
    )
    parser.add_argument(
        "--annotate",
        action="store_true",
        help="on a public page: let visitors annotate and export nevertheless",
    )
    parser.add_argument(
        "--training",
        action="store_true",
        help="on a public page: let visitors bring data and train (default: off there, on elsewhere)",
    )
    parser.add_argument(
        "--auth",
        type=Path,
        metavar="FILE",
        help="ask for a login; the file holds a line for everyone, made with --hash-password (tools of --mcp cannot log in)",
    )
    parser.add_argument(
        "--hash-password",
        metavar="NAME",
        help="ask for NAME's password and print a line for --auth; serve nothing",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="offer the endpoints search, compare and explain as tools, too (MCP)",
    )
    arguments = parser.parse_args(argv)
    if arguments.mcp and importlib.util.find_spec("mcp") is None:
        parser.error("--mcp needs a further package. Install it: pip install 'gradio[mcp]'")
    if arguments.port is None:
        wanted = os.environ.get("PORT", "7860")
        if not wanted.isdecimal():
            parser.error(f"PORT is {wanted!r}; it should be a number.")
        arguments.port = int(wanted)
    if not 0 < arguments.port < 65536:
        parser.error(f"The port is {arguments.port}; it should be between 1 and 65535.")
    checkpoint = arguments.checkpoint
    if checkpoint and not Path(checkpoint).is_dir() and not needs_hub(checkpoint):
        parser.error(f"There is no checkpoint folder {arguments.checkpoint}.")
    return arguments


def is_free(host: str, port: int) -> bool:
    """Whether the page could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def seclude(workspace: Path, checkpoint: str | None = None) -> None:
    """No telemetry, no downloads but of a `checkpoint` that a hub has, and temporary files inside the workspace. Has to
    come before any heavy import."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if not needs_hub(checkpoint):
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(workspace / "uploaded")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def print_login(name: str) -> int:
    """Ask for a password, or read it where it is piped in, and print the line of a file of logins."""
    ask = sys.stdin.isatty()
    password = getpass.getpass(f"Password of {name}: ") if ask else sys.stdin.readline().rstrip("\r\n")
    try:
        if ask and getpass.getpass("The same again: ") != password:
            raise InputError("The two are not the same. Nothing was made.")
        print(line_of(name, password))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Exit codes: 0 stopped, 2 bad usage or a port that is taken."""
    arguments = parse(argv)
    if arguments.hash_password is not None:
        return print_login(arguments.hash_password)
    try:
        logins = Logins.read(arguments.auth) if arguments.auth else None
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if not is_free(arguments.host, arguments.port):
        print(
            f"Port {arguments.port} on {arguments.host} is in use or not allowed. "
            f"Choose another: python app.py --port {arguments.port + 1 if arguments.port < 65535 else 7860}",
            file=sys.stderr,
        )
        return 2
    workspace_folder = arguments.workspace.resolve()
    workspace_folder.mkdir(parents=True, exist_ok=True)
    seclude(workspace_folder, arguments.checkpoint)
    try:
        lend = lender()
        if lend and (arguments.training or not arguments.public):
            raise InputError(
                "ZeroGPU lends a GPU for a minute, which trains nothing: leave out --training and --no-public."
            )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2

    from app.studio import build, launch_options
    from app.workspace import Workspace

    workspace = Workspace(
        workspace_folder, arguments.checkpoint, arguments.device, arguments.expert, lend=lend
    )
    if lend:
        workspace.load()
    page = build(workspace, arguments.public, arguments.annotate, arguments.training).queue(
        max_size=QUEUED, default_concurrency_limit=AT_ONCE
    )
    page.launch(
        server_name=arguments.host,
        server_port=arguments.port,
        prevent_thread_lock=True,
        quiet=True,
        mcp_server=arguments.mcp,
        auth=logins.check if logins else None,
        **launch_options(workspace),
    )
    print(f"SSA-ME studio is open at http://{arguments.host}:{arguments.port}  (Ctrl+C stops it)", flush=True)
    if arguments.mcp:
        print(f"Its tools are at http://{arguments.host}:{arguments.port}/gradio_api/mcp/", flush=True)
    workspace.start()
    page.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
