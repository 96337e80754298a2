package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sort"
	"strings"
	"time"
)

// More numbers of ZooKeeper's: its requests, the two that its clients give fixed
// xids, and the kind of a watch that stays and is of everything below its znode.
const (
	opExists            = 3
	opSetWatches2       = 105
	opAddWatch          = 106
	notificationXid     = -1
	setWatchesXid       = -8
	persistentRecursive = 1
)

// Kinds of ZooKeeper's events.
const (
	nodeCreated = 1
	nodeDeleted = 2
	nodeChanged = 3
)

// notice is an event of a watch as its client is told of it: since 3.9 its header carries
// the zxid of the change.
type notice struct {
	zxid int64
	kind int32
	path string
}

// stay is the time with one server: from the zxid of the answer that says that the watch
// is set, to when the connection breaks. marks are zxids of answers to reads: all events up to one of
// them were to come before it.
type stay struct {
	set     int64
	notices []notice
	marks   []mark
}

// mark is the zxid of an answer, and how many events had come before it.
type mark struct {
	zxid int64
	had  int
}

// recursive has one session with a persistent recursive watch, and does as ZooKeeper's own
// client for Java does: it goes from server to server, with its session and the last zxid
// that it was told, and sets the watch again by setWatches2.
//
// What ZooKeeper promises for such a watch: it is told of every change, once and in order,
// while it is connected, and of a change before any answer that shows it. What
// happened while it was away it is not told: a watch that stays is only set again (3.9
// DataTree.setWatches), unlike those for one event. A session never goes back, so there
// is no event twice.
type recursive struct {
	path      string
	endpoints []string

	id     int64
	passwd string
	last   int64 // the last zxid
	stays  []*stay
}

// recursiveTimeout is its session's.
const recursiveTimeout = 8 * time.Second

func (r *recursive) run(ctx context.Context, rec *Recorder) {
	for i := 0; ; i++ {
		nc, err := net.DialTimeout("tcp", r.endpoints[i%len(r.endpoints)], time.Second)
		if err == nil {
			err = r.stayWith(ctx, nc)
			_ = nc.Close() // it was given up
		}
		switch {
		case errors.Is(err, errGone):
			rec.find("the session %x with a persistent watch: %v", r.id, err)
			return
		case err == nil:
			return // the end
		}
		pauseFor(context.Background(), pollInterval)
	}
}

var errGone = errors.New("its session has expired, and its client lives")

// stayWith is served by one server until the connection breaks, which is an error, or
// the context ends.
func (r *recursive) stayWith(ctx context.Context, nc net.Conn) error {
	in := bufio.NewReader(nc)
	if err := r.handshake(nc, in); err != nil {
		return err
	}
	s := &stay{}
	if err := r.set(nc); err != nil {
		return err
	}
	for number, ended := int32(0), false; ; {
		if err := nc.SetReadDeadline(time.Now().Add(recursiveTimeout * 2 / 3)); err != nil {
			return err
		}
		xid, zxid, body, err := readReply(in)
		if err != nil {
			return err
		}
		if xid == notificationXid {
			if len(body) < 12 {
				return fmt.Errorf("a notification of %d bytes", len(body))
			}
			s.notices = append(s.notices, notice{zxid, int32(binary.BigEndian.Uint32(body)), string(body[12:])})
			continue
		}
		r.last = max(r.last, zxid)
		if number == 0 {
			s.set = zxid
			r.stays = append(r.stays, s)
		} else {
			s.marks = append(s.marks, mark{zxid, len(s.notices)})
		}
		if ended {
			return nil
		}
		if ctx.Err() == nil {
			pauseFor(ctx, pollInterval)
		}
		ended = ctx.Err() != nil // one more answer, which has all
		number++
		if err := r.request(nc, number, opExists, append(appendField(nil, r.path), 0)); err != nil {
			return err
		}
	}
}

// set sets the watch, for the first time or again.
func (r *recursive) set(nc net.Conn) error {
	if len(r.stays) == 0 {
		return r.request(nc, 1, opAddWatch, binary.BigEndian.AppendUint32(appendField(nil, r.path), persistentRecursive))
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(r.last))
	for range 4 { // of data, of existence, of children, and persistent ones
		b = binary.BigEndian.AppendUint32(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, 1)
	return r.request(nc, setWatchesXid, opSetWatches2, appendField(b, r.path))
}

func (r *recursive) request(nc net.Conn, xid int32, op uint32, body []byte) error {
	b := make([]byte, 0, 12+len(body))
	b = binary.BigEndian.AppendUint32(b, uint32(8+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(xid))
	b = binary.BigEndian.AppendUint32(b, op)
	_, err := nc.Write(append(b, body...))
	return err
}

func (r *recursive) handshake(nc net.Conn, in io.Reader) error {
	if err := nc.SetDeadline(time.Now().Add(recursiveTimeout / 3)); err != nil {
		return err
	}
	if r.passwd == "" {
		r.passwd = string(make([]byte, 16))
	}
	b := make([]byte, 4+4, 64) // length, version
	b = binary.BigEndian.AppendUint64(b, uint64(r.last))
	b = binary.BigEndian.AppendUint32(b, uint32(recursiveTimeout.Milliseconds()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.id))
	b = append(appendField(b, r.passwd), 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := nc.Write(b); err != nil {
		return err
	}
	answer := make([]byte, 4+37)
	if _, err := io.ReadFull(in, answer); err != nil {
		return err
	}
	if id := int64(binary.BigEndian.Uint64(answer[12:])); id == 0 {
		return errGone
	} else if r.id == 0 {
		r.id, r.passwd = id, string(answer[24:40])
	}
	return nc.SetDeadline(time.Time{})
}

// readReply reads a reply or a notification. An error of the server's is one.
func readReply(in io.Reader) (xid int32, zxid int64, body []byte, err error) {
	header := make([]byte, 4+16)
	if _, err := io.ReadFull(in, header); err != nil {
		return 0, 0, nil, err
	}
	const longest = 1 << 20
	length := int(binary.BigEndian.Uint32(header)) - 16
	if length < 0 || length > longest {
		return 0, 0, nil, fmt.Errorf("a reply of %d bytes", length)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(in, body)
	if code := int32(binary.BigEndian.Uint32(header[16:])); code != 0 && err == nil {
		err = fmt.Errorf("code %d", code)
	}
	return int32(binary.BigEndian.Uint32(header[4:])), int64(binary.BigEndian.Uint64(header[8:])), body, err
}

// judgeAmongThemselves compares what the persistent watches were told with what all of
// them were, where there is no stream of changes to be had: what one was told, all were.
func (c *chapter) judgeAmongThemselves() (broken []string) {
	known := map[int64]notice{}
	for _, s := range c.spectators {
		r, is := s.(*recursive)
		if !is {
			continue
		}
		for _, at := range r.stays {
			for _, n := range at.notices {
				if other, told := known[n.zxid]; told && other != n {
					broken = append(broken, fmt.Sprintf("one persistent watch was told %v, and another %v", other, n))
				}
				known[n.zxid] = n
			}
		}
	}
	var all []Event
	for _, zxid := range slices.Sorted(maps.Keys(known)) {
		n := known[zxid]
		e := Event{Key: mount + n.path, Rev: zxid, Deleted: n.kind == nodeDeleted, Version: 1}
		if n.kind == nodeCreated {
			e.Version = 0
		}
		all = append(all, e)
	}
	for _, s := range c.spectators {
		broken = append(broken, s.judge(all)...)
	}
	return broken
}

// judge compares what it was told with the stream of changes.
func (r *recursive) judge(stream []Event) (broken []string) {
	var all []notice
	for _, e := range stream {
		path, below := strings.CutPrefix(e.Key, mount)
		if !below || path != r.path && !strings.HasPrefix(path, r.path+"/") {
			continue
		}
		n := notice{e.Rev, nodeChanged, path}
		switch {
		case e.Deleted:
			n.kind = nodeDeleted
		case e.Version == 0:
			n.kind = nodeCreated
		}
		all = append(all, n)
	}
	if len(r.stays) == 0 {
		return []string{"the persistent watch of " + r.path + " was never set"}
	}
	for i, s := range r.stays {
		if text := s.judge(all); text != "" {
			broken = append(broken, fmt.Sprintf("the persistent watch of %s, at its server %d of %d: %s", r.path, i+1, len(r.stays), text))
		}
		if i > 0 && len(s.notices) > 0 {
			if before := r.stays[i-1].notices; len(before) > 0 && s.notices[0].zxid <= before[len(before)-1].zxid {
				broken = append(broken, fmt.Sprintf("%v is told again by the next server", s.notices[0]))
			}
		}
	}
	return broken
}

// judge says whether a server's events are those of the stream from when the watch was
// set, without a gap, and whether none came later than an answer that shows it.
func (s *stay) judge(all []notice) string {
	after := func(zxid int64) int { return sort.Search(len(all), func(i int) bool { return all[i].zxid > zxid }) }
	from := after(s.set)
	if len(s.notices) > 0 { // some may come between the watch and the answer that it is set
		from = min(from, after(s.notices[0].zxid-1))
	}
	for i, n := range s.notices {
		if from+i >= len(all) || all[from+i] != n {
			return fmt.Sprintf("%v is told as number %d, where the history has %v", n, i, all[from+i:min(len(all), from+i+1)])
		}
	}
	for _, m := range s.marks {
		if due := after(m.zxid) - from; m.had < due {
			return fmt.Sprintf("an answer shows %d, for which %d events are due, and %d have come; the next is %v", m.zxid, due, m.had, all[from+m.had])
		}
	}
	return ""
}
