package transfer

import (
	"errors"
	"fmt"
	"io"

	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/checkpoint"
)

// Sender is the end that has the checkpoint. Its caller takes what Next has to say until
// that is nothing, then gives Take what the other end says, and so on until Done. It is
// for one goroutine; Close must be called.
type Sender struct {
	fs    storage.FS
	dir   string
	index uint64
	files []checkpoint.File
	// have is what the receiver says that it has of each file.
	have []checkpoint.Piece

	phase sendPhase
	// next is the next file to be listed, then to be sent.
	next int
	// file is the one that is being sent, nil between two.
	file *checkpoint.Reader
	buf  []byte
	// Sent is how many bytes of files were sent.
	Sent int64
}

type sendPhase uint8

const (
	sendOffer sendPhase = iota
	sendList
	sendListen // what the receiver has
	sendFiles
	sendAwait // the receiver's End
	sendDone
)

// NewSender makes the sender of the checkpoint in dir, which is as of index and must not
// change.
func NewSender(fs storage.FS, dir string, index uint64) (*Sender, error) {
	files, err := checkpoint.List(fs, dir)
	if err != nil {
		return nil, err
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("transfer: the checkpoint has %d files, the most is %d", len(files), maxFiles)
	}
	return &Sender{
		fs: fs, dir: dir, index: index, files: files,
		have: make([]checkpoint.Piece, len(files)), buf: make([]byte, chunkBytes),
	}, nil
}

// Done reports whether the receiver has all.
func (s *Sender) Done() bool { return s.phase == sendDone }

// Next returns what is to be said next, nil if it is the receiver's turn, or both are
// done. The message is valid until the next call.
func (s *Sender) Next() (Message, error) {
	switch s.phase {
	case sendOffer:
		s.phase = sendList
		return Offer{Version: Version, Index: s.index, Files: len(s.files)}, nil
	case sendList:
		if m := s.list(); len(m.Files) > 0 {
			return m, nil
		}
		s.phase, s.next = sendListen, 0
	case sendFiles:
		if s.file != nil {
			return s.data()
		}
		if s.next < len(s.files) {
			return s.begin()
		}
		s.phase = sendAwait
		return End{}, nil
	default:
	}
	return nil, nil
}

// list is the next part of the list of files.
func (s *Sender) list() (m Files) {
	for size := 0; s.next < len(s.files) && size < listBytes; s.next++ {
		f := s.files[s.next]
		m.Files = append(m.Files, f)
		size += len(f.Name) + 8
	}
	return m
}

// begin opens the next file at where the receiver's copy ends, if that is right so far.
func (s *Sender) begin() (Message, error) {
	f, have := s.files[s.next], s.have[s.next]
	r, err := checkpoint.Read(s.fs, s.dir, f.Name)
	if err != nil {
		return nil, err
	}
	if have.Bytes > 0 {
		if err := r.Skip(have.Bytes); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		if r.Piece() != have {
			if err := r.Close(); err != nil {
				return nil, err
			}
			if r, err = checkpoint.Read(s.fs, s.dir, f.Name); err != nil {
				return nil, err
			}
		}
	}
	s.file = r
	return Begin{File: s.next, Offset: r.Piece().Bytes}, nil
}

// data is the next piece of the file, or its sum.
func (s *Sender) data() (Message, error) {
	f := s.files[s.next]
	left := f.Size - s.file.Piece().Bytes
	if left == 0 {
		sum := s.file.Piece().Sum
		err := s.file.Close()
		s.file = nil
		s.next++
		return Sum{Sum: sum}, err
	}
	n, err := io.ReadFull(s.file, s.buf[:min(left, chunkBytes)])
	if err != nil {
		return nil, fmt.Errorf("transfer: read %s: %w", f.Name, err)
	}
	s.Sent += int64(n)
	return Data{Bytes: s.buf[:n]}, nil
}

// Take takes in what the receiver says.
func (s *Sender) Take(m Message) error {
	switch m := m.(type) {
	case Have:
		if s.phase != sendListen {
			break
		}
		for _, p := range m.Pieces {
			if p.File >= len(s.files) || p.Bytes > s.files[p.File].Size {
				return fmt.Errorf("%w: the receiver has %d bytes of file %d, which there are not", errMalformed, p.Bytes, p.File)
			}
			s.have[p.File] = p.Piece
		}
		return nil
	case Ready:
		if s.phase != sendListen {
			break
		}
		s.phase, s.next = sendFiles, 0
		return nil
	case End:
		if s.phase != sendAwait {
			break
		}
		s.phase = sendDone
		return nil
	case Wait:
		return nil
	case Failed:
		return fmt.Errorf("transfer: the receiver gave up: %s", m.Reason)
	}
	return fmt.Errorf("%w: kind %d out of turn", errMalformed, m.kind())
}

// Close closes the file that is being sent.
func (s *Sender) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
