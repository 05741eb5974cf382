# preStop hook of an engine: vLLM ends the requests that run when it is told to stop, so wait until none is left.
# Arguments: port, seconds that routers get to notice, seconds to wait at most. Never fails: a hook that does only makes noise.
import sys
import time
import urllib.request

port, delay, limit = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
time.sleep(delay)
end = time.monotonic() + limit
idle = failed = 0
while time.monotonic() < end and idle < 2 and failed < 5:
    busy = 0.0
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                name = line.replace("{", " ").split(" ", 1)[0]
                if name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
                    busy += float(line.rsplit(" ", 1)[1])
        failed = 0
        # twice: a request may be between the socket and the queue
        idle = idle + 1 if busy == 0 else 0
    except Exception:
        failed += 1
    time.sleep(0.5)
