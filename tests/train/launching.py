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


def launch(*processes, timeout=300, expected=0):
    """Run commands at once and return their standard outputs and errors.

    Args:
        processes: of each its command, what its environment has beyond this one's, and the folder that it runs in.
        timeout: seconds until they are killed.
        expected: exit status of all.
    """
    here = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    here |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(words, env=here | environment, cwd=folder, **pipes) for words, environment, folder in processes]
    try:
        outputs = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (out, error) in zip(started, outputs, strict=True):
        assert process.returncode == expected, f"{process.args}\n{out[-500:]}\n{error[-3000:]}"
    return outputs


def by_hand(command, processes=2):
    """Return what each of several processes of one machine is started with where the user starts them all."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "NODE_RANK": "0"}
    return [(command, meeting | {"LOCAL_RANK": str(rank)}, None) for rank in range(processes)]
