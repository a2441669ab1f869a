"""What each step of the fast path costs by itself: nanoseconds and instructions per packet."""
