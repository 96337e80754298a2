package kv

// Len is how much is remembered.
func (c *Counts) Len() (n int) {
	for _, ranks := range c.lists {
		n += len(ranks)
	}
	return n
}
