package etcdfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// pages reads the trees of pages that bbolt writes. Unlike bbolt, which maps the
// file and trusts it, it takes nothing for granted: whatever the bytes are, it
// returns an error, ends, and holds no more than a path of pages in memory.
//
// A page is a head of 16 bytes (id, flags, number of elements, number of pages
// that follow and belong to it) and elements of 16 bytes, each of which says
// where its key and value are. All numbers are little-endian.
type pages struct {
	file io.ReaderAt
	// pageSize is that of the machine that wrote the file; end is the first page
	// that was never used.
	pageSize int64
	end      uint64
	root     uint64
}

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHead    = 16
	elementLen  = 16
	bucketHead  = 16
	metaLen     = 64
	minPageSize = 512
	maxPageSize = 1 << 20

	flagBranch = 0x01
	flagLeaf   = 0x02
	flagBucket = 0x01 // of an element of a leaf

	// maxDepth is more levels than a tree of all bytes there are would have.
	maxDepth = 40
)

var errPages = errors.New("damaged or cut short")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errPages, fmt.Sprintf(format, args...))
}

// openPages finds the newer of the two heads that bbolt writes in turn.
func openPages(file io.ReaderAt, size int64) (*pages, error) {
	newest, found := head{}, false
	for _, at := range headPlaces(file, size) {
		if h, ok := readHead(file, at); ok && (!found || h.txid > newest.txid) {
			newest, found = h, true
		}
	}
	if !found {
		return nil, errors.New("not a database of etcd")
	}
	p := newest.pages
	p.file = file
	if p.pageSize < minPageSize || p.pageSize > maxPageSize || p.pageSize&(p.pageSize-1) != 0 {
		return nil, damaged("pages of %d bytes", p.pageSize)
	}
	if p.end > uint64(size)/uint64(p.pageSize) {
		return nil, damaged("it has %d bytes of %d pages of %d", size, p.end, p.pageSize)
	}
	return &p, nil
}

// headPlaces are the offsets at which a head may be: the second is a page behind
// the first, whose size only a whole first one tells.
func headPlaces(file io.ReaderAt, size int64) []int64 {
	places := []int64{0}
	if h, ok := readHead(file, 0); ok {
		return append(places, h.pageSize)
	}
	for at := int64(minPageSize); at <= maxPageSize && at < size; at *= 2 {
		places = append(places, at)
	}
	return places
}

type head struct {
	pages
	txid uint64
}

func readHead(file io.ReaderAt, at int64) (head, bool) {
	b := make([]byte, pageHead+metaLen)
	if _, err := file.ReadAt(b, at); err != nil {
		return head{}, false
	}
	b = b[pageHead:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaLen-8]) // a hash never fails
	u64 := binary.LittleEndian.Uint64
	if binary.LittleEndian.Uint32(b) != boltMagic || binary.LittleEndian.Uint32(b[4:]) != boltVersion || u64(b[metaLen-8:]) != sum.Sum64() {
		return head{}, false
	}
	return head{
		pages: pages{pageSize: int64(binary.LittleEndian.Uint32(b[8:])), root: u64(b[16:]), end: u64(b[40:])},
		txid:  u64(b[48:]),
	}, true
}

// page is a page in memory, with those that belong to it.
type page struct {
	id    uint64
	flags uint16
	count int
	b     []byte
}

func parsePage(id uint64, b []byte) (page, error) {
	if len(b) < pageHead {
		return page{}, damaged("page %d has %d bytes", id, len(b))
	}
	p := page{id: id, flags: binary.LittleEndian.Uint16(b[8:]), count: int(binary.LittleEndian.Uint16(b[10:])), b: b}
	switch {
	case p.flags != flagBranch && p.flags != flagLeaf:
		return page{}, damaged("page %d is of kind %#x", id, p.flags)
	case pageHead+p.count*elementLen > len(b):
		return page{}, damaged("page %d has %d elements", id, p.count)
	}
	return p, nil
}

// element is an element of a leaf, or of a branch, which has a page instead of a
// value.
type element struct {
	key, value []byte
	bucket     bool
	page       uint64
}

func (p *page) element(i int) (element, error) {
	at := pageHead + i*elementLen
	b := p.b[at:]
	u32 := binary.LittleEndian.Uint32
	var e element
	var pos, keyLen, valueLen uint64
	if p.flags == flagBranch {
		pos, keyLen, e.page = uint64(u32(b)), uint64(u32(b[4:])), binary.LittleEndian.Uint64(b[8:])
	} else {
		e.bucket = u32(b)&flagBucket != 0
		pos, keyLen, valueLen = uint64(u32(b[4:])), uint64(u32(b[8:])), uint64(u32(b[12:]))
	}
	if pos+keyLen+valueLen > uint64(len(b)) {
		return element{}, damaged("element %d of page %d reaches beyond it", i, p.id)
	}
	e.key, e.value = b[pos:pos+keyLen:pos+keyLen], b[pos+keyLen:pos+keyLen+valueLen:pos+keyLen+valueLen]
	return e, nil
}

// maxPage bounds what a damaged page can make a reader ask for; etcd takes requests
// of far less.
const maxPage = 1 << 30

// read reads a page into buf, which it may replace.
func (p *pages) read(id uint64, buf []byte) (page, []byte, error) {
	if id < 2 || id >= p.end { // the first two are the heads
		return page{}, buf, damaged("there is no page %d", id)
	}
	at := int64(id) * p.pageSize
	buf = slices.Grow(buf[:0], int(p.pageSize))[:p.pageSize]
	if err := p.readAt(buf, at); err != nil {
		return page{}, buf, err
	}
	own, more := binary.LittleEndian.Uint64(buf), uint64(binary.LittleEndian.Uint32(buf[12:]))
	if own != id || more >= p.end-id || more >= maxPage/uint64(p.pageSize) {
		return page{}, buf, damaged("page %d says that it is page %d, and %d more", id, own, more)
	}
	if more > 0 {
		buf = slices.Grow(buf, int(more)*int(p.pageSize))[:int(more+1)*int(p.pageSize)]
		if err := p.readAt(buf[p.pageSize:], at+p.pageSize); err != nil {
			return page{}, buf, err
		}
	}
	parsed, err := parsePage(id, buf)
	return parsed, buf, err
}

func (p *pages) readAt(b []byte, at int64) error {
	if _, err := p.file.ReadAt(b, at); err != nil {
		return fmt.Errorf("byte %d cannot be read: %w", at, err)
	}
	return nil
}

// tree is a bucket: the pages below a root, or a page within an element.
type tree struct {
	root   uint64
	inline []byte
}

func parseTree(value []byte) (tree, error) {
	if len(value) < bucketHead {
		return tree{}, damaged("a bucket of %d bytes", len(value))
	}
	t := tree{root: binary.LittleEndian.Uint64(value)}
	if t.root == 0 {
		t.inline = bytes.Clone(value[bucketHead:])
	}
	return t, nil
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// walk calls fn for the elements of a tree, in the order of their keys, which it
// checks: that is also why it ends. What fn gets is valid during the call.
func (p *pages) walk(t tree, fn func(element) error) error {
	var err error
	w := walker{pages: p, fn: fn}
	if t.root == 0 {
		var in page
		if in, err = parsePage(0, t.inline); err == nil && in.flags != flagLeaf {
			err = damaged("a bucket within a page that is no leaf")
		}
		if err == nil {
			err = w.leaf(in)
		}
	} else {
		err = w.page(t.root, 0)
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

type walker struct {
	pages *pages
	fn    func(element) error
	// last is the last key, once begun; buf holds the page read last.
	last, buf []byte
	begun     bool
}

func (w *walker) page(id uint64, depth int) error {
	p, buf, err := w.pages.read(id, w.buf)
	w.buf = buf
	switch {
	case err != nil:
		return err
	case depth > maxDepth:
		return damaged("page %d lies too deep", id)
	case p.count == 0 && (depth > 0 || p.flags == flagBranch):
		return damaged("page %d is empty", id)
	case p.flags == flagLeaf:
		return w.leaf(p)
	}
	w.buf = nil // this one is needed until all below it are read
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		if err := w.page(e.page, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) leaf(p page) error {
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		if w.begun && bytes.Compare(e.key, w.last) <= 0 {
			return damaged("the keys of page %d are out of order", p.id)
		}
		w.last, w.begun = append(w.last[:0], e.key...), true
		if err := w.fn(e); err != nil {
			return err
		}
	}
	return nil
}

// last returns the last element of a tree; ok is false if there is none.
func (p *pages) last(t tree) (e element, ok bool, err error) {
	at, err := parsePage(0, t.inline)
	if t.root != 0 {
		at, _, err = p.read(t.root, nil)
	}
	for depth := 0; err == nil; depth++ {
		if at.count == 0 || depth > maxDepth {
			return element{}, false, nil
		}
		if e, err = at.element(at.count - 1); err != nil || at.flags == flagLeaf {
			return e, err == nil, err
		}
		at, _, err = p.read(e.page, nil)
	}
	return element{}, false, err
}
