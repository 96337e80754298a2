package backup

import "encoding/binary"

// maxSidecarKey is the longest key that bbolt takes. That of a znode may be a few
// bytes longer.
const maxSidecarKey = 32 << 10

// longMark begins the key of a row in triglotRows whose own key is too long. No table
// has this tag.
const longMark = 0xff

// longRow is how such a row, the number n of them, is kept: behind the mark its
// number, and in the value the length of its key, the key and the value.
func longRow(n int, key, value []byte) (boltKey, boltValue []byte) {
	boltKey = binary.BigEndian.AppendUint64([]byte{longMark}, uint64(n))
	boltValue = binary.AppendUvarint(nil, uint64(len(key)))
	return boltKey, append(append(boltValue, key...), value...)
}

// sidecarRow takes a row of triglotRows apart into that of the engine. Both alias
// what they were given.
func sidecarRow(boltKey, boltValue []byte) (key, value []byte, ok bool) {
	if len(boltKey) == 0 || boltKey[0] != longMark {
		return boltKey, boltValue, len(boltKey) > 0
	}
	size, n := binary.Uvarint(boltValue)
	if n <= 0 || size > uint64(len(boltValue)-n) {
		return nil, nil, false
	}
	rest := boltValue[n:]
	return rest[:size], rest[size:], true
}
