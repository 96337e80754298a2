package etcdload

import "fmt"

// readRevision finds the revision in a ResponseHeader.
func readRevision(b []byte) int64 {
	for f := (fields{rest: b}); f.next(); {
		if f.num == 3 {
			return int64(f.varint)
		}
	}
	return 0
}

// row is a KeyValue, as far as anybody looks at it.
type row struct {
	modRev     int64
	key, value []byte
}

func readRow(b []byte) (r row, err error) {
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 1:
			r.key = f.bytes
		case 3:
			r.modRev = int64(f.varint)
		case 5:
			r.value = f.bytes
		}
	}
	return r, f.err
}

// revAnswer is a response of which only the revision matters.
type revAnswer struct{ rev int64 }

func (a *revAnswer) read(b []byte) error {
	f := fields{rest: b}
	a.rev = 0
	for f.next() {
		if f.num == 1 {
			a.rev = readRevision(f.bytes)
		}
	}
	if f.err == nil && a.rev == 0 {
		return fmt.Errorf("an answer without a revision")
	}
	return f.err
}

// rangeAnswer is a RangeResponse, or several one after the other. each, if there is one,
// is shown every row.
type rangeAnswer struct {
	rows, count int64
	more        bool
	rev         int64
	each        func(row)
}

func (a *rangeAnswer) reset() { a.rows, a.count, a.more, a.rev = 0, 0, false, 0 }

func (a *rangeAnswer) read(b []byte) error {
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 1:
			a.rev = readRevision(f.bytes)
		case 2:
			a.rows++
			if a.each != nil {
				r, err := readRow(f.bytes)
				if err != nil {
					return err
				}
				a.each(r)
			}
		case 3:
			a.more = f.varint != 0
		case 4:
			a.count = int64(f.varint)
		}
	}
	return f.err
}

// chunkAnswer is a RangeStreamResponse: a part of a rangeAnswer.
type chunkAnswer struct{ *rangeAnswer }

func (a chunkAnswer) read(b []byte) error {
	f := fields{rest: b}
	for f.next() {
		if f.num != 1 {
			continue
		}
		if err := a.rangeAnswer.read(f.bytes); err != nil {
			return err
		}
	}
	return f.err
}

// txnAnswer is the TxnResponse to an update.
type txnAnswer struct {
	rev       int64
	succeeded bool
	found     rangeAnswer // if it has not
}

func (a *txnAnswer) read(b []byte) error {
	a.rev, a.succeeded = 0, false
	a.found.reset()
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 1:
			a.rev = readRevision(f.bytes)
		case 2:
			a.succeeded = f.varint != 0
		case 3:
			for op := (fields{rest: f.bytes}); op.next(); {
				if op.num != 1 { // a put
					continue
				}
				if err := a.found.read(op.bytes); err != nil {
					return err
				}
			}
		}
	}
	return f.err
}

// numbersAnswer has the numbers of fields 2 and 3, whatever they are: of a
// DeleteRangeResponse how many were deleted, of a lease's responses its id and time.
type numbersAnswer struct{ second, third int64 }

func (a *numbersAnswer) read(b []byte) error {
	*a = numbersAnswer{}
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 2:
			a.second = int64(f.varint)
		case 3:
			a.third = int64(f.varint)
		}
	}
	return f.err
}

// watchAnswer is a WatchResponse. each is shown every event's row, and the error that it
// returns is that of reading.
type watchAnswer struct {
	id                int64
	created, canceled bool
	compacted         int64
	reason            string
	events            int64
	each              func(id int64, r row) error
}

func (a *watchAnswer) read(b []byte) error {
	*a = watchAnswer{each: a.each}
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 2:
			a.id = int64(f.varint)
		case 3:
			a.created = f.varint != 0
		case 4:
			a.canceled = f.varint != 0
		case 5:
			a.compacted = int64(f.varint)
		case 6:
			a.reason = string(f.bytes)
		case 11:
			if err := a.event(f.bytes); err != nil {
				return err
			}
		}
	}
	return f.err
}

// event reads an event. The watch's number precedes the events: fields are written in order.
func (a *watchAnswer) event(b []byte) error {
	a.events++
	f := fields{rest: b}
	for f.next() {
		if f.num != 2 {
			continue
		}
		r, err := readRow(f.bytes)
		if err != nil {
			return err
		}
		if err := a.each(a.id, r); err != nil {
			return err
		}
	}
	return f.err
}

// refusal says why a watch ended.
func (a *watchAnswer) refusal() error {
	if a.compacted > 0 {
		return fmt.Errorf("the watch was canceled: its revision is compacted, up to %d", a.compacted)
	}
	return fmt.Errorf("the watch was canceled: %s", a.reason)
}
