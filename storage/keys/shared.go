package keys

// Bounds are those of some keys.
type Bounds struct{ Lower, Upper []byte }

// SharedTables are the tables besides d and r whose rows all members share, but for
// some of m: what a hash of the whole state must take in.
func SharedTables() []Bounds {
	tags := [...]byte{tagMeta, tagZnode, tagZnodeIndex, tagACL, tagLease, tagAttachment, tagAuth}
	all := make([]Bounds, len(tags))
	for i, tag := range tags {
		all[i].Lower, all[i].Upper = table(tag)
	}
	return all
}
