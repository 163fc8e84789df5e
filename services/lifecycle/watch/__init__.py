"""The monitor of running containers: crashes, turns, and idle agents that go to sleep."""
