"""Jobs: their queue, their steps, and the rolling update."""
