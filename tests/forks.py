"""Start trainings as processes of their own, without importing torch anew for each.

`python -m tests.forks` reads one JSON request per line and answers each with one line. A child goes
on as `python -m <module>` does: nothing that a training depends on is imported from the repository
before, so its fingerprint is that of the command.
"""

import json
import os
import runpy
import sys
import traceback

import pydantic.dataclasses  # noqa: F401
import torch
import yaml  # noqa: F401
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

torch.optim.Adam([torch.zeros(1, requires_grad=True)], fused=True)  # the first one is slow

for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "poll":
        pid, status = os.waitpid(request["pid"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if answer == 0:
            break  # the child goes on below
    print(json.dumps(answer), flush=True)
else:
    sys.exit()

os.chdir(request["folder"])
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(os.open(f"{os.getpid()}.out", os.O_WRONLY | os.O_CREAT), 1)
os.dup2(os.open(f"{os.getpid()}.err", os.O_WRONLY | os.O_CREAT), 2)
exec(request["fault"], {})
sys.argv[1:] = request["arguments"]
try:
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    code = 0
except SystemExit as stop:
    code = int(stop.code or 0)
except BaseException:
    traceback.print_exc()
    code = 1
sys.stdout.flush()
os._exit(code)  # taking down all that was imported costs more than a training
