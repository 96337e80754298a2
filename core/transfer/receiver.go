package transfer

import (
	"fmt"

	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/checkpoint"
)

// Receiver is the end that wants the checkpoint. Its caller takes what Next has to say
// until that is nothing, then gives Take what the other end says, and so on until Done.
// It is for one goroutine; Close must be called.
type Receiver struct {
	fs  storage.FS
	dir string
	// room fails if there is no room for so many more bytes.
	room func(int64) error

	phase receivePhase
	// count is how many files there are, names which of them are listed.
	count int
	files []checkpoint.File
	names map[string]struct{}
	size  int64
	index uint64

	in *checkpoint.Incoming
	// next is the next file of which to tell what is there, then the one that is to come;
	// begun says that it is coming.
	next  int
	begun bool
}

type receivePhase uint8

const (
	receiveAsk receivePhase = iota
	receiveOffer
	receiveList
	receiveTell // what is there
	receiveFiles
	receiveEnd
	receiveDone
)

// NewReceiver makes the receiver of a checkpoint into dir, where an earlier one may have
// left something. room is asked whether there is room for so many bytes.
func NewReceiver(fs storage.FS, dir string, room func(bytes int64) error) *Receiver {
	return &Receiver{fs: fs, dir: dir, room: room, names: make(map[string]struct{})}
}

// Done reports whether all is there and durable, and the sender has been told.
func (r *Receiver) Done() bool { return r.phase == receiveDone }

// Index is what the checkpoint is said to be as of.
func (r *Receiver) Index() uint64 { return r.index }

// Next returns what is to be said next, nil if it is the sender's turn, or both are
// done.
func (r *Receiver) Next() (Message, error) {
	switch r.phase {
	case receiveAsk:
		r.phase = receiveOffer
		return Ask{Version: Version}, nil
	case receiveTell:
		return r.tell()
	case receiveEnd:
		r.phase = receiveDone
		return End{}, nil
	default:
		return nil, nil
	}
}

// tell says what is there of the next file of which something is.
func (r *Receiver) tell() (Message, error) {
	for r.next < len(r.files) {
		have, err := r.in.Have(r.next)
		if err != nil {
			return nil, err
		}
		r.next++
		if have.Bytes > 0 {
			return Have{Pieces: []Piece{{File: r.next - 1, Piece: have}}}, nil
		}
	}
	if err := r.room(r.in.Missing()); err != nil {
		return nil, err
	}
	r.phase, r.next = receiveFiles, 0
	return Ready{}, nil
}

// Take takes in what the sender says.
func (r *Receiver) Take(m Message) error {
	switch m := m.(type) {
	case Wait:
		return nil
	case Failed:
		return fmt.Errorf("transfer: the sender gave up: %s", m.Reason)
	case Offer:
		if r.phase == receiveOffer {
			return r.offer(m)
		}
	case Files:
		if r.phase == receiveList {
			return r.list(m.Files)
		}
	case Begin:
		if r.phase == receiveFiles && !r.begun && m.File == r.next && r.next < r.count {
			r.begun = true
			return r.in.Begin(m.File, m.Offset)
		}
	case Data:
		if r.phase == receiveFiles && r.begun {
			return r.in.Write(m.Bytes)
		}
	case Sum:
		if r.phase == receiveFiles && r.begun {
			r.begun = false
			r.next++
			return r.in.Finish(m.Sum)
		}
	case End:
		if r.phase == receiveFiles && !r.begun {
			r.phase = receiveEnd
			return r.in.Complete()
		}
	}
	return fmt.Errorf("%w: kind %d out of turn", errMalformed, m.kind())
}

func (r *Receiver) offer(m Offer) error {
	if m.Version != Version {
		return fmt.Errorf("transfer: the sender speaks version %d, this member version %d: run the same version of the program", m.Version, Version)
	}
	if m.Files == 0 {
		return fmt.Errorf("%w: a checkpoint without files", errMalformed)
	}
	r.phase, r.count, r.index = receiveList, m.Files, m.Index
	return nil
}

// list takes in a part of the list of files.
func (r *Receiver) list(files []checkpoint.File) error {
	for _, f := range files {
		r.names[f.Name] = struct{}{}
		r.size += f.Size
		r.files = append(r.files, f)
		if len(r.names) != len(r.files) || len(r.files) > r.count || r.size > maxBytes {
			return fmt.Errorf("%w: %d files announced, and then %q", errMalformed, r.count, f.Name)
		}
	}
	if len(r.files) < r.count {
		return nil
	}
	var err error
	if r.in, err = checkpoint.OpenIncoming(r.fs, r.dir, r.files); err != nil {
		return err
	}
	r.phase = receiveTell
	return nil
}

// Close closes the file that is being written. What was received stays.
func (r *Receiver) Close() error {
	if r.in == nil {
		return nil
	}
	return r.in.Close()
}
