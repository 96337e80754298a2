package state

// Mount is the prefix of the keys that are znodes, empty if all are. ok is false in
// a store that was founded before there were znodes: it has none.
func (m *Machine) Mount() (prefix string, ok bool) {
	if m.znodes == nil {
		return "", false
	}
	return string(*m.znodes.Mount()), true
}
