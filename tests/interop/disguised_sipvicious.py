"""Runs a tool of sipvicious under another User-Agent: a gateway must not rely on scanners saying what they are.

    disguised_sipvicious.py USER_AGENT svmap|svwar|svcrack ARGUMENTS...
"""

import importlib
import sys

from sipvicious.libs import svhelper

agent, tool = sys.argv[1:3]
request = svhelper.makeRequest
request.__defaults__ = tuple(agent if it == "friendly-scanner" else it for it in request.__defaults__)
sys.argv = [tool, *sys.argv[3:]]
sys.exit(importlib.import_module(f"sipvicious.{tool}").main())
