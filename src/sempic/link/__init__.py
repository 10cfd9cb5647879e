"""Around a stream on its way: packets that get lost, and the forward error correction that makes up for them."""
