"""``utracectl mem``: a process's memory, read, written and searched."""

from __future__ import annotations

import argparse
import base64
import os
from collections.abc import Iterator

from utracectl.client import Client, connect
from utracectl.engines import attached
from utracectl.exit_codes import ERROR, OK
from utracectl.hexdump import hexdump
from utracectl.messages import WrongUsage, error_text, say
from utracectl.output import Output, open_output
from utracectl.showing import print_json, print_line
from utraced.api.memory import Read, Search, Write
from utraced.errors import BadAddress
from utraced.model import Hex

PIECE = 65_536
"""Bytes of a request: less than any daemon's ``limits.max_read``, and a whole number of lines."""
LONGEST_PATTERN = 4096
STDOUT = 1


def read_memory(options: argparse.Namespace) -> int:
    """Print memory as ``xxd -g1`` does, or write it as it is."""
    if options.raw and options.output is None and os.isatty(STDOUT):
        raise WrongUsage("--raw would write bytes to your terminal that it might obey: name a file with -o")
    output = Output(STDOUT, "stdout", what="output") if options.output is None else open_output(options.output)
    raw = options.raw or options.output is not None
    kept: list[bytes] = []
    failure = None
    with connect(host=options.host) as client:
        try:
            for address, data in _pieces(client, options.pid, options.address, options.size):
                if options.json:
                    kept.append(data)
                else:
                    output.write(data if raw else "".join([f"{line}\n" for line in hexdump(address, data)]))
                if output.failed:
                    return ERROR
        except BadAddress as error:
            failure = error
    if options.json:
        whole = b"".join(kept)
        print_json({"address": Hex(options.address), "data": base64.b64encode(whole).decode()})
    if failure is not None:
        say(error_text(failure))
        return ERROR
    return OK


def _pieces(client: Client, pid: int, address: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield memory piece by piece, each with its address; raises BadAddress after the last byte there is."""
    end = address + size
    while address < end:
        wanted = min(PIECE, end - address)
        try:
            data = client.call(Read(pid=pid, address=Hex(address), size=wanted)).data or b""
        except BadAddress as error:
            done = int(error.data.get("done") or 0)
            if done:
                yield address, client.call(Read(pid=pid, address=Hex(address), size=done)).data or b""
            raise
        yield address, data
        address += len(data)


def write_memory(options: argparse.Namespace) -> int:
    """Write bytes into a process."""
    data = bytes_of(options.data)
    if not data:
        raise WrongUsage("there is nothing to be written: give bytes in hexadecimal, as cc or '48 89 e5', or @FILE")
    with connect(host=options.host) as client, attached(client, options.pid) as engine:
        for at in range(0, len(data), PIECE):
            part = data[at : at + PIECE]
            try:
                client.call(Write(engine=engine.engine, address=Hex(options.address + at), data=part))
            except BadAddress as error:
                done = at + int(error.data.get("done") or 0)
                say(f"{error_text(error)} {done} of {len(data)} bytes are written.")
                return ERROR
    if options.json:
        print_json({"size": len(data)})
    else:
        print_line(f"{len(data)} {'byte' if len(data) == 1 else 'bytes'} written at {options.address:#x}")
    return OK


def search_memory(options: argparse.Namespace) -> int:
    """Print the address of every place where bytes stand, as they are found."""
    pattern = os.fsencode(options.pattern) if options.text else bytes_of(options.pattern)
    if not 1 <= len(pattern) <= LONGEST_PATTERN:
        raise WrongUsage(f"a pattern has 1 to {LONGEST_PATTERN} bytes, and this one {len(pattern)}")
    start, left = Hex(options.start), options.count
    found: list[Hex] = []
    with connect(host=options.host) as client:
        while left is None or left > 0:
            limit = 1000 if left is None else min(left, 1000)
            end = None if options.end is None else Hex(options.end)
            page = client.call(Search(pid=options.pid, pattern=pattern, start=start, end=end, limit=limit))
            if options.json:
                found += page.addresses
            else:
                for address in page.addresses:
                    print_line(f"{address:#x}")
            left = None if left is None else left - len(page.addresses)
            if page.next is None:
                break
            start = page.next
    if options.json:
        print_json({"addresses": found})
    return OK


def bytes_of(text: str) -> bytes:
    """Return the bytes that a word gives: hexadecimal digits, spaces between them or not, or the contents of @FILE."""
    if text.startswith("@"):
        try:
            with open(text[1:], "rb") as file:
                return file.read()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise WrongUsage(f"{text}: {why}") from error
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise WrongUsage(f"{text!r} are no bytes: write two hexadecimal digits for each, as 48 89 e5") from error
