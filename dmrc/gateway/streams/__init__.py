"""Running streams in processes of their own: the daemon begins and ends each, a stream process carries its chunks."""
