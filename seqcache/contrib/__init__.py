"""What brings seqcache together with other packages; each needs its extra."""
