package mvcc

// noPace never rests.
func noPace() error { return nil }
