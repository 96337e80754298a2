package jute

import "unicode/utf8"

// Text is b as Java makes a string of it: valid UTF-8, with U+FFFD for what is not.
func Text(b []byte) string { return text(b) }

// text is b as a string that is valid UTF-8.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return replaced(b)
}

// replaced does what Java's String does with malformed UTF-8: it puts U+FFFD for
// each longest piece of it that could have begun a character, and for a surrogate
// that was encoded as if it were one. (A path with U+FFFD in it is refused; how
// many there are shows in what a sync answers.)
func replaced(b []byte) string {
	out := make([]byte, 0, len(b)+2*utf8.UTFMax)
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		if c == utf8.RuneError && size == 1 {
			size = malformed(b)
		}
		out = utf8.AppendRune(out, c)
		b = b[size:]
	}
	return string(out)
}

// malformed is the number of bytes at the beginning of b, which does not begin
// with a character, that Java replaces by one U+FFFD.
func malformed(b []byte) int {
	// Lead bytes that no character has are replaced alone.
	if b[0] < 0xc2 || b[0] > 0xf4 {
		return 1
	}
	size := 2
	switch {
	case b[0] >= 0xf0:
		size = 4
	case b[0] >= 0xe0:
		size = 3
	}
	for i := 1; i < size && i < len(b); i++ {
		if !follows(b[0], b[i], i) {
			return i
		}
	}
	return min(size, len(b))
}

// follows says whether b can be the byte at position i of a character that
// begins with lead. To Java a surrogate's three bytes belong together.
func follows(lead, b byte, i int) bool {
	if b&0xc0 != 0x80 {
		return false
	}
	if i > 1 {
		return true
	}
	switch lead {
	case 0xe0:
		return b >= 0xa0
	case 0xf0:
		return b >= 0x90
	case 0xf4:
		return b < 0x90
	}
	return true
}
