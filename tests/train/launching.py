"""Starting several processes at once, each with an environment of its own, as launchers do."""

import os
import socket
import subprocess
import sys

LAUNCHERS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def launch(*processes, folder=None, timeout=300):
    """Run commands at once and return their standard outputs and errors.

    Args:
        processes: of each its command and what its environment has beyond this one's.
        folder: that they run in.
        timeout: seconds until they are killed.
    """
    here = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    here |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(command, env=here | environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command, environment in processes
    ]
    try:
        outputs = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (out, error) in zip(started, outputs, strict=True):
        assert process.returncode == 0, f"{process.args}\n{out[-500:]}\n{error[-3000:]}"
    return outputs


def by_hand(command, processes=2):
    """Return what each of several processes of one machine is started with where the user starts them all."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "NODE_RANK": "0"}
    return [(command, meeting | {"LOCAL_RANK": str(rank)}) for rank in range(processes)]
