package core

// A member keeps hundreds of thousands of KVs in its caches, and the garbage collector goes
// over each object of theirs: so a KV and the bytes of its key and value are one, if the
// bytes are at most maxPieceBytes: the runtime's sizes of objects have larger steps above 512.
const (
	pieceStep     = 32
	maxPieceBytes = 512 - kvOverhead
)

// pieces make a KV with so many times pieceStep bytes.
var pieces = [1 + maxPieceBytes/pieceStep]func() (*KV, []byte){
	func() (*KV, []byte) { return new(KV), nil },
	func() (*KV, []byte) { p := new(piece[[32]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[64]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[96]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[128]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[160]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[192]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[224]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[256]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[288]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[320]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[352]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[384]byte]); return &p.kv, p.bytes[:] },
	func() (*KV, []byte) { p := new(piece[[416]byte]); return &p.kv, p.bytes[:] },
}

// piece is a KV and its bytes.
type piece[B any] struct {
	kv    KV
	bytes B
}

// NewKV makes a KV of its own memory with copies of key and value. Its Value is not nil,
// even if it is empty.
func NewKV(key, value []byte) *KV {
	n := len(key) + len(value)
	var kv *KV
	var bytes []byte
	if n <= maxPieceBytes {
		kv, bytes = pieces[(n+pieceStep-1)/pieceStep]()
	} else {
		kv, bytes = new(KV), make([]byte, n)
	}
	k := copy(bytes, key)
	copy(bytes[k:n], value)
	kv.Key = bytes[:k:k]
	if kv.Value = bytes[k:n:n]; kv.Value == nil {
		kv.Value = []byte{}
	}
	return kv
}

// revisionOfOne is a Revision and its only change, one object for the garbage collector.
type revisionOfOne struct {
	revision Revision
	change   [1]Change
}

// NewRevision makes a Revision that has room for one change in its own memory.
func NewRevision() *Revision {
	r := new(revisionOfOne)
	r.revision.Changes = r.change[:0]
	return &r.revision
}
