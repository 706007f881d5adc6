"""Runs a tool of sipvicious from an address of loopback and under another User-Agent.

A gateway must not rely on scanners saying what they are, and two of the tools forget their --bindingip.

    disguised_sipvicious.py ADDRESS USER_AGENT svmap|svwar|svcrack ARGUMENTS...
"""

import importlib
import socket
import sys

from sipvicious.libs import svhelper


class Elsewhere(socket.socket):
    """A socket that binds to our address, whatever it is told."""

    def bind(self, at):
        super().bind((address, at[1]))


address, agent, tool = sys.argv[1:4]
socket.socket = Elsewhere
request = svhelper.makeRequest
request.__defaults__ = tuple(agent if it == "friendly-scanner" else it for it in request.__defaults__)
sys.argv = [tool, *sys.argv[4:]]
sys.exit(importlib.import_module(f"sipvicious.{tool}").main())
