package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/triglot/triglot/storage/checkpoint"
)

// Version is that of the conversation. One of another version is refused.
const Version = 1

const (
	// maxMessage bounds a message's body: it is what a peer can have a member allocate.
	maxMessage = 512 << 10
	// chunkBytes is how much of a file goes into a message: little enough that a slow
	// line shows progress, much enough that the cost of a message is nothing.
	chunkBytes = 256 << 10
	// listBytes is about the size of the messages of a list.
	listBytes = 64 << 10
	// maxFiles bounds the files of a checkpoint: the engine's have 2 MiB and more, but for
	// a few, so that is half a terabyte at the very least.
	maxFiles = 1 << 18
	// maxBytes bounds a checkpoint's size, so that sums of sizes do not overflow.
	maxBytes = 1 << 50
	// maxReason bounds the text of a failure.
	maxReason = 1 << 10
)

// Message is what one end says to the other.
type Message interface {
	kind() kind
	// append appends the body.
	append(dst []byte) []byte
}

// kind is a message's first byte.
type kind byte

// The kinds. The numbers are the wire's.
const (
	kindAsk kind = 1 + iota
	kindOffer
	kindFiles
	kindHave
	kindReady
	kindBegin
	kindData
	kindSum
	kindEnd
	kindWait
	kindFailed
)

type (
	// Ask is the receiver's first word.
	Ask struct{ Version uint64 }
	// Offer is the sender's: what state it has, as of which index, in how many files.
	Offer struct {
		Version, Index uint64
		Files          int
	}
	// Files are some more of the files, in order.
	Files struct{ Files []checkpoint.File }
	// Have is what the receiver has of some files.
	Have struct{ Pieces []Piece }
	// Ready says that the receiver has told all that it has.
	Ready struct{}
	// Begin says which file follows, and from where on.
	Begin struct {
		File   int
		Offset int64
	}
	// Data is the next bytes of the file.
	Data struct{ Bytes []byte }
	// Sum is the CRC-32C of the whole file, which ends.
	Sum struct{ Sum uint32 }
	// End is the sender's last word, and the receiver's.
	End struct{}
	// Wait says that there is more to come.
	Wait struct{}
	// Failed says why one end gives up.
	Failed struct{ Reason string }
)

// Piece is what the receiver has of a file.
type Piece struct {
	File int
	checkpoint.Piece
}

func (Ask) kind() kind    { return kindAsk }
func (Offer) kind() kind  { return kindOffer }
func (Files) kind() kind  { return kindFiles }
func (Have) kind() kind   { return kindHave }
func (Ready) kind() kind  { return kindReady }
func (Begin) kind() kind  { return kindBegin }
func (Data) kind() kind   { return kindData }
func (Sum) kind() kind    { return kindSum }
func (End) kind() kind    { return kindEnd }
func (Wait) kind() kind   { return kindWait }
func (Failed) kind() kind { return kindFailed }

func (m Ask) append(b []byte) []byte { return binary.AppendUvarint(b, m.Version) }

func (m Offer) append(b []byte) []byte {
	b = binary.AppendUvarint(b, m.Version)
	b = binary.AppendUvarint(b, m.Index)
	return binary.AppendUvarint(b, uint64(m.Files))
}

func (m Files) append(b []byte) []byte {
	for _, f := range m.Files {
		b = binary.AppendUvarint(b, uint64(len(f.Name)))
		b = append(b, f.Name...)
		b = binary.AppendUvarint(b, uint64(f.Size))
	}
	return b
}

func (m Have) append(b []byte) []byte {
	for _, p := range m.Pieces {
		b = binary.AppendUvarint(b, uint64(p.File))
		b = binary.AppendUvarint(b, uint64(p.Bytes))
		b = binary.BigEndian.AppendUint32(b, p.Sum)
	}
	return b
}

func (m Begin) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(m.File))
	return binary.AppendUvarint(b, uint64(m.Offset))
}

func (m Data) append(b []byte) []byte { return append(b, m.Bytes...) }
func (m Sum) append(b []byte) []byte  { return binary.BigEndian.AppendUint32(b, m.Sum) }
func (Ready) append(b []byte) []byte  { return b }
func (End) append(b []byte) []byte    { return b }
func (Wait) append(b []byte) []byte   { return b }

func (m Failed) append(b []byte) []byte { return append(b, cut(m.Reason)...) }

// cut is a reason's beginning. Both ends cut: what is logged has a bound whoever sent it.
func cut[T string | []byte](reason T) string {
	return string(reason[:min(len(reason), maxReason)])
}

// errMalformed is that of a message that is not what its kind says.
var errMalformed = errors.New("transfer: malformed message")

// decode reads a message from its kind and body, which Data keeps.
func decode(k kind, body []byte) (Message, error) {
	d := decoder{rest: body}
	var m Message
	switch k {
	case kindAsk:
		m = Ask{Version: d.number(math.MaxInt64)}
	case kindOffer:
		m = Offer{Version: d.number(math.MaxInt64), Index: d.number(math.MaxInt64), Files: int(d.number(maxFiles))}
	case kindFiles:
		m = Files{Files: d.files()}
	case kindHave:
		m = Have{Pieces: d.pieces()}
	case kindReady:
		m = Ready{}
	case kindBegin:
		m = Begin{File: int(d.number(maxFiles)), Offset: int64(d.number(maxBytes))}
	case kindData:
		m = Data{Bytes: d.all()}
	case kindSum:
		m = Sum{Sum: d.sum()}
	case kindEnd:
		m = End{}
	case kindWait:
		m = Wait{}
	case kindFailed:
		m = Failed{Reason: cut(d.all())}
	default:
		return nil, fmt.Errorf("%w: kind %d", errMalformed, k)
	}
	if d.bad || len(d.rest) > 0 {
		return nil, fmt.Errorf("%w of kind %d", errMalformed, k)
	}
	return m, nil
}

// decoder takes a body apart. It is bad as soon as something is missing.
type decoder struct {
	rest []byte
	bad  bool
}

// take takes n bytes; nil if there are not so many.
func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) all() []byte { return d.take(len(d.rest)) }

// number takes a number of at most limit.
func (d *decoder) number(limit uint64) uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > limit {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) sum() uint32 {
	b := d.take(4)
	if d.bad {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (d *decoder) files() (all []checkpoint.File) {
	for len(d.rest) > 0 {
		name := string(d.take(int(d.number(maxMessage))))
		f := checkpoint.File{Name: name, Size: int64(d.number(maxBytes))}
		if d.bad || !checkpoint.ValidName(name) {
			d.bad = true
			return nil
		}
		all = append(all, f)
	}
	return all
}

func (d *decoder) pieces() (all []Piece) {
	for len(d.rest) > 0 {
		p := Piece{File: int(d.number(maxFiles))}
		p.Bytes, p.Sum = int64(d.number(maxBytes)), d.sum()
		if d.bad {
			return nil
		}
		all = append(all, p)
	}
	return all
}
