package mvcc

// distinct counts different hashes: nearly, as it takes some for one it has had, of n new
// ones about n/distinctBits. The zero value has had none. It is for one goroutine.
type distinct struct {
	had   [distinctBits / 64]uint64
	fresh int // since take
}

// distinctBits makes 32 KiB, of which every lookup touches a word.
const distinctBits = 1 << 18

func (d *distinct) add(hash uint64) {
	word, bit := &d.had[hash%distinctBits/64], uint64(1)<<(hash%64)
	if *word&bit == 0 {
		*word |= bit
		d.fresh++
	}
}

// take is how many were added since the last call that had not been before.
func (d *distinct) take() int {
	n := d.fresh
	d.fresh = 0
	return n
}
