package etcdfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
)

// pageSize is that of the files of etcd on all common machines. It does not depend
// on this one, so that a store makes files of the same size everywhere.
const pageSize = 4096

const (
	flagMeta     = 0x04
	flagFreelist = 0x10
	// headPages are the two heads, of which bbolt uses the newer one.
	headPages = 2
	// writeBuffer is what is written at a time.
	writeBuffer = 256 << 10
)

// pageFile writes pages one behind the other, each once, and the heads in the end. It is
// for one goroutine.
type pageFile struct {
	file *os.File
	out  *bufio.Writer
	next uint64 // the page that is written next
	page []byte // reused
}

func createPages(path string) (*pageFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(headPages*pageSize, 0); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return &pageFile{file: file, out: bufio.NewWriterSize(file, writeBuffer), next: headPages}, nil
}

// begin makes room for a page, whose head it makes.
func (f *pageFile) begin(flags uint16, count int) {
	f.page = binary.LittleEndian.AppendUint64(f.page[:0], f.next)
	f.page = binary.LittleEndian.AppendUint16(f.page, flags)
	f.page = binary.LittleEndian.AppendUint16(f.page, uint16(count))
	f.page = binary.LittleEndian.AppendUint32(f.page, 0)
}

// end writes the page, with as many as it needs behind it, and returns its number.
func (f *pageFile) end() (id uint64, err error) {
	pages := (len(f.page) + pageSize - 1) / pageSize
	binary.LittleEndian.PutUint32(f.page[12:], uint32(pages-1))
	f.page = append(f.page, zeroPage[:pages*pageSize-len(f.page)]...)
	id, f.next = f.next, f.next+uint64(pages)
	_, err = f.out.Write(f.page)
	if cap(f.page) > writeBuffer {
		f.page = nil
	}
	return id, err
}

var zeroPage [pageSize]byte

// close writes the heads and closes the file. It returns its length.
func (f *pageFile) close(root uint64) (size int64, err error) {
	f.begin(flagFreelist, 0)
	free, err := f.end()
	if err == nil {
		err = f.out.Flush()
	}
	for txid := uint64(1); err == nil && txid <= headPages; txid++ {
		at := txid % headPages
		_, err = f.file.WriteAt(f.head(at, root, free, txid), int64(at)*pageSize)
	}
	return int64(f.next) * pageSize, errors.Join(err, f.file.Close())
}

// head is a head as bbolt has it.
func (f *pageFile) head(at, root, free, txid uint64) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, pageSize), at)
	b = binary.LittleEndian.AppendUint16(b, flagMeta)
	b = append(b, make([]byte, pageHead-len(b))...)
	b = binary.LittleEndian.AppendUint32(b, boltMagic)
	b = binary.LittleEndian.AppendUint32(b, boltVersion)
	b = binary.LittleEndian.AppendUint32(b, pageSize)
	b = binary.LittleEndian.AppendUint32(b, 0) // flags
	b = binary.LittleEndian.AppendUint64(b, root)
	b = binary.LittleEndian.AppendUint64(b, 0) // the root's sequence
	b = binary.LittleEndian.AppendUint64(b, free)
	b = binary.LittleEndian.AppendUint64(b, f.next)
	b = binary.LittleEndian.AppendUint64(b, txid)
	sum := fnv.New64a()
	_, _ = sum.Write(b[pageHead:]) // a hash never fails
	b = binary.LittleEndian.AppendUint64(b, sum.Sum64())
	return b[:pageSize]
}
