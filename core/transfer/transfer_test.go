package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/checkpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source makes a directory with files, by name and size.
func source(t testing.TB, files map[string]int) *storage.MemFS {
	fs := storage.NewMemFS()
	require.NoError(t, fs.MkdirAll("src", 0o755))
	for name, size := range files {
		writeFile(t, fs, "src/"+name, content(name, size))
	}
	return fs
}

// content is what a file of that name and size holds.
func content(name string, size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[0])))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func writeFile(t testing.TB, fs storage.FS, path string, b []byte) {
	f, err := fs.Create(path, "")
	require.NoError(t, err)
	_, err = f.Write(append([]byte(nil), b...))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func readFile(t testing.TB, fs storage.FS, path string) []byte {
	f, err := fs.Open(path)
	require.NoError(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return b
}

// theFiles are what most tests send: an empty file, one of less than a chunk, of exactly
// one, of some.
var theFiles = map[string]int{"CURRENT": 0, "a.sst": 1000, "b.sst": chunkBytes, "c.sst": 3*chunkBytes + 5}

func checkReceived(t testing.TB, fs storage.FS, files map[string]int) {
	names, err := fs.List("dst")
	require.NoError(t, err)
	require.Len(t, names, len(files))
	for name, size := range files {
		require.Equal(t, content(name, size), readFile(t, fs, "dst/"+name), name)
	}
}

func anyRoom(int64) error { return nil }

func newSender(src storage.FS) func(context.Context) (*Sender, error) {
	return func(context.Context) (*Sender, error) { return NewSender(src, "src", 7) }
}

// run is one attempt to send what src holds to dst, over a connection that wrap may
// spoil.
func run(ctx context.Context, src, dst storage.FS, wrap func(net.Conn) net.Conn) (sent int64, sendErr, receiveErr error) {
	there, here := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		sent, sendErr = Send(ctx, wrap(there), NewLimit(0), newSender(src))
		_ = there.Close()
	}()
	receiveErr = Receive(ctx, here, NewReceiver(dst, "dst", anyRoom))
	_ = here.Close()
	<-done
	return sent, sendErr, receiveErr
}

func asIs(c net.Conn) net.Conn { return c }

func TestTransfer(t *testing.T) {
	src, dst := source(t, theFiles), storage.NewMemFS()
	require.NoError(t, dst.MkdirAll("dst", 0o755))
	writeFile(t, dst, "dst/stranger", []byte("is removed"))
	sent, err1, err2 := run(t.Context(), src, dst, asIs)
	require.NoError(t, err1)
	require.NoError(t, err2)
	require.EqualValues(t, 1000+4*chunkBytes+5, sent)
	checkReceived(t, dst, theFiles)

	// What is there is not sent again.
	sent, err1, err2 = run(t.Context(), src, dst, asIs)
	require.NoError(t, err1)
	require.NoError(t, err2)
	require.Zero(t, sent)
	checkReceived(t, dst, theFiles)

	// Of what is wrong, that file is.
	writeFile(t, dst, "dst/a.sst", content("x", 500))
	writeFile(t, dst, "dst/b.sst", content("b.sst", chunkBytes)[:100])
	writeFile(t, dst, "dst/c.sst", content("c.sst", 4*chunkBytes)) // longer than it should be
	sent, err1, err2 = run(t.Context(), src, dst, asIs)
	require.NoError(t, err1)
	require.NoError(t, err2)
	require.EqualValues(t, 1000+chunkBytes-100+3*chunkBytes+5, sent)
	checkReceived(t, dst, theFiles)
}

// spoiled breaks a connection, or changes a byte, after so many writes.
type spoiled struct {
	net.Conn
	writes int
	flip   bool
}

func (s *spoiled) Write(p []byte) (int, error) {
	if s.writes--; s.writes >= 0 {
		return s.Conn.Write(p)
	}
	if s.flip && s.writes == -1 {
		p = append([]byte(nil), p...)
		p[len(p)/2] ^= 1
		return s.Conn.Write(p)
	}
	_ = s.Close()
	return 0, io.ErrClosedPipe
}

// A connection that is cut, or changes a byte, at any message: what was received stays,
// and of all that is sent in two attempts nothing is sent twice but for what was under
// way: a message, or two if the first of them was damaged.
func TestCutAtEveryMessage(t *testing.T) { synctest.Test(t, testCutAtEveryMessage) }

func testCutAtEveryMessage(t *testing.T) {
	total := int64(1000 + 4*chunkBytes + 5)
	for _, flip := range []bool{false, true} {
		finished := false
		for writes := 0; !finished; writes++ {
			require.Less(t, writes, 50)
			src, dst := source(t, theFiles), storage.NewMemFS()
			first, err1, err2 := run(t.Context(), src, dst, func(c net.Conn) net.Conn {
				return &spoiled{Conn: c, writes: writes, flip: flip}
			})
			finished = err1 == nil && err2 == nil
			if flip && !finished {
				require.ErrorIs(t, err2, errMalformed)
			}
			second, err1, err2 := run(t.Context(), src, dst, asIs)
			require.NoError(t, err1)
			require.NoError(t, err2)
			checkReceived(t, dst, theFiles)
			require.GreaterOrEqual(t, first+second, total)
			require.LessOrEqual(t, first+second, total+2*chunkBytes, "cut after %d messages", writes)
		}
	}
}

// A power failure takes of what was received no more than what was not synced, and
// nothing that is wrong is taken for right.
func TestPowerFailureAtEveryWrite(t *testing.T) {
	src := source(t, theFiles)
	for percent := 0; percent <= 100; percent += 50 {
		fs := storage.NewCrashableMemFS()
		var copies []*storage.MemFS
		faulty := storage.WithFaults(fs, func(f storage.Fault) error {
			if f.Write {
				copies = append(copies, storage.CrashClone(fs, percent, uint64(len(copies))))
			}
			return nil
		})
		_, err1, err2 := run(t.Context(), src, faulty, asIs)
		require.NoError(t, err1)
		require.NoError(t, err2)
		require.Greater(t, len(copies), 15)
		checkReceived(t, storage.CrashClone(fs, percent, 1), theFiles)
		for _, left := range copies {
			_, err1, err2 := run(t.Context(), src, left, asIs)
			require.NoError(t, err1)
			require.NoError(t, err2)
			checkReceived(t, storage.CrashClone(left, 0, 1), theFiles)
		}
	}
}

// Every write and every sync fails once: the receiver says so, and both ends know.
func TestFaultAtEveryWrite(t *testing.T) { synctest.Test(t, testFaultAtEveryWrite) }

func testFaultAtEveryWrite(t *testing.T) {
	src := source(t, theFiles)
	errDisk := errors.New("the disk is full")
	done := false
	for n := int64(1); !done; n++ {
		require.Less(t, n, int64(100))
		mem := storage.NewMemFS()
		var count atomic.Int64
		faulty := storage.WithFaults(mem, func(f storage.Fault) error {
			if f.Write && count.Add(1) == n {
				return errDisk
			}
			return nil
		})
		_, err1, err2 := run(t.Context(), src, faulty, asIs)
		if done = err2 == nil; done {
			require.NoError(t, err1)
			break
		}
		require.ErrorIs(t, err2, errDisk)
		require.Error(t, err1)
		_, err1, err2 = run(t.Context(), src, mem, asIs)
		require.NoError(t, err1)
		require.NoError(t, err2)
		checkReceived(t, mem, theFiles)
	}
}

// A file that was not synced is not what the file system shows of it.
func TestFailedSyncRemovesTheFile(t *testing.T) { synctest.Test(t, testFailedSyncRemovesTheFile) }

func testFailedSyncRemovesTheFile(t *testing.T) {
	src, mem := source(t, map[string]int{"a.sst": 1000}), storage.NewMemFS()
	faulty := storage.WithFaults(mem, func(f storage.Fault) error {
		if f.Sync && strings.HasSuffix(f.Path, "a.sst") {
			return errors.New("no")
		}
		return nil
	})
	_, _, err := run(t.Context(), src, faulty, asIs)
	require.ErrorIs(t, err, checkpoint.ErrSync)
	names, err := mem.List("dst")
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestNoRoom(t *testing.T) {
	src, dst := source(t, theFiles), storage.NewMemFS()
	there, here := net.Pipe()
	errs := make(chan error, 1)
	go func() {
		_, err := Send(t.Context(), there, NewLimit(0), newSender(src))
		errs <- err
	}()
	var asked int64
	err := Receive(t.Context(), here, NewReceiver(dst, "dst", func(n int64) error {
		asked = n
		return errors.New("make room")
	}))
	require.EqualError(t, err, "make room")
	require.EqualValues(t, 1000+4*chunkBytes+5, asked)
	require.EqualError(t, <-errs, "transfer: the receiver gave up: make room")
}

// What cannot be prepared is said, and a receiver of another version is refused.
func TestRefusals(t *testing.T) {
	there, here := net.Pipe()
	go func() {
		_, _ = Send(t.Context(), there, NewLimit(0), func(context.Context) (*Sender, error) { return nil, errors.New("no checkpoint") })
	}()
	err := Receive(t.Context(), here, NewReceiver(storage.NewMemFS(), "dst", anyRoom))
	require.EqualError(t, err, "transfer: the sender gave up: no checkpoint")

	there, here = net.Pipe()
	errs := make(chan error, 1)
	go func() {
		_, err := Send(t.Context(), there, NewLimit(0), newSender(source(t, theFiles)))
		errs <- err
	}()
	_, err = here.Write(appendFrame(nil, Ask{Version: 2}))
	require.NoError(t, err)
	m, _, err := readFrame(here, nil)
	require.NoError(t, err)
	require.Equal(t, Failed{Reason: "transfer: the receiver speaks version 2, this member version 1"}, m)
	require.EqualError(t, <-errs, m.(Failed).Reason)
}

// An end that hears nothing gives up; one that is told to wait does not.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, here := net.Pipe()
		err := Receive(t.Context(), here, NewReceiver(storage.NewMemFS(), "dst", anyRoom))
		require.ErrorContains(t, err, "timeout")

		src, dst := source(t, theFiles), storage.NewMemFS()
		there, here := net.Pipe()
		go func() {
			_, _ = Send(t.Context(), there, NewLimit(0), func(context.Context) (*Sender, error) {
				<-time.After(10 * silence)
				return NewSender(src, "src", 7)
			})
		}()
		require.NoError(t, Receive(t.Context(), here, NewReceiver(dst, "dst", anyRoom)))
		checkReceived(t, dst, theFiles)
	})
}

// An end that reads a large file says so, be it the sender's or what the receiver has.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, dst := source(t, theFiles), storage.NewMemFS()
		require.NoError(t, dst.MkdirAll("dst", 0o755))
		writeFile(t, dst, "dst/c.sst", content("c.sst", 3*chunkBytes))
		slow := func(fs storage.FS) storage.FS {
			return storage.WithFaults(fs, func(f storage.Fault) error {
				if strings.HasSuffix(f.Path, "c.sst") && !f.Write {
					<-time.After(2 * silence)
				}
				return nil
			})
		}
		sent, err1, err2 := run(t.Context(), slow(src), slow(dst), asIs)
		require.NoError(t, err1)
		require.NoError(t, err2)
		require.EqualValues(t, 1000+chunkBytes+5, sent)
		checkReceived(t, dst, theFiles)
	})
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := map[string]int{"a.sst": 10 * chunkBytes}
		src, dst := source(t, files), storage.NewMemFS()
		there, here := net.Pipe()
		start := time.Now()
		go func() { _, _ = Send(t.Context(), there, NewLimit(chunkBytes), newSender(src)) }()
		require.NoError(t, Receive(t.Context(), here, NewReceiver(dst, "dst", anyRoom)))
		require.Equal(t, 9*time.Second, time.Since(start).Round(time.Second))
		checkReceived(t, dst, files)
	})
}

func TestContextEndsTransfer(t *testing.T) {
	_, here := net.Pipe()
	errEnd := errors.New("the member stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnd)
	err := Receive(ctx, here, NewReceiver(storage.NewMemFS(), "dst", anyRoom))
	require.ErrorIs(t, err, errEnd)
}

// What a peer must not say is refused, with nothing written outside of the directory.
func TestHostileSender(t *testing.T) {
	offer := Offer{Version: Version, Files: 1}
	list := Files{Files: []checkpoint.File{{Name: "a", Size: 10}}}
	for name, say := range map[string][]Message{
		"another version":      {Offer{Version: 2, Files: 1}},
		"no files":             {Offer{Version: Version}},
		"too many files":       {offer, Files{Files: []checkpoint.File{{Name: "a"}, {Name: "b"}}}},
		"a name twice":         {Offer{Version: Version, Files: 2}, Files{Files: []checkpoint.File{{Name: "a"}, {Name: "a"}}}},
		"data before a file":   {offer, list, Data{Bytes: []byte("x")}},
		"another file":         {offer, list, Begin{File: 1}},
		"an offset":            {offer, list, Begin{File: 0, Offset: 5}},
		"too much":             {offer, list, Begin{}, Data{Bytes: make([]byte, 11)}},
		"too little":           {offer, list, Begin{}, Data{Bytes: make([]byte, 9)}, Sum{}},
		"a wrong sum":          {offer, list, Begin{}, Data{Bytes: make([]byte, 10)}, Sum{Sum: 1}},
		"an early end":         {offer, list, End{}},
		"an end in a file":     {offer, list, Begin{}, End{}},
		"what a receiver says": {Ready{}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := storage.NewMemFS()
			r := NewReceiver(fs, "dst", anyRoom)
			speak := func() {
				for {
					m, err := r.Next()
					require.NoError(t, err)
					if m == nil {
						return
					}
				}
			}
			speak()
			for i, m := range say {
				err := r.Take(m)
				if i == len(say)-1 {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
				}
				if err == nil {
					speak()
				}
			}
			require.NoError(t, r.Close())
			require.False(t, r.Done())
		})
	}
}

func TestHostileReceiver(t *testing.T) {
	for name, m := range map[string]Message{
		"a file that there is not": Have{Pieces: []Piece{{File: 4}}},
		"more than there is":       Have{Pieces: []Piece{{File: 0, Piece: checkpoint.Piece{Bytes: 1}}}},
		"an end":                   End{},
		"data":                     Data{},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewSender(source(t, theFiles), "src", 7)
			require.NoError(t, err)
			for m, err := s.Next(); m != nil; m, err = s.Next() {
				require.NoError(t, err)
			}
			require.Error(t, s.Take(m))
			require.NoError(t, s.Close())
		})
	}
}

// What is no checkpoint of an engine is not sent.
func TestSenderOfAnotherDirectory(t *testing.T) {
	fs := source(t, theFiles)
	require.NoError(t, fs.MkdirAll("src/folder", 0o755))
	_, err := NewSender(fs, "src", 7)
	require.EqualError(t, err, `checkpoint: src holds "folder", which is no file of the engine`)
	_, err = NewSender(fs, "none", 7)
	require.Error(t, err)
}

// messages are one of each kind.
var messages = []Message{
	Ask{Version: 1},
	Offer{Version: 1, Index: 1 << 40, Files: 3},
	Files{Files: []checkpoint.File{{Name: "000001.sst", Size: 1 << 30}, {Name: "CURRENT"}}},
	Have{Pieces: []Piece{{File: 2, Piece: checkpoint.Piece{Bytes: 5, Sum: 0xdeadbeef}}}},
	Ready{},
	Begin{File: 1, Offset: 1 << 33},
	Data{Bytes: []byte("some")},
	Sum{Sum: 7},
	End{},
	Wait{},
	Failed{Reason: "no room"},
}

func TestMessages(t *testing.T) {
	for _, m := range messages {
		got, err := decode(m.kind(), m.append(nil))
		require.NoError(t, err)
		require.Equal(t, m, got)
		got, _, err = readFrame(strings.NewReader(string(appendFrame(nil, m))), nil)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, body := range []string{"\x02..\x00", "\x01/\x00", "\x00\x00", "\x05ab", "\x01a"} {
		_, err := decode(kindFiles, []byte(body))
		require.ErrorIs(t, err, errMalformed, body)
	}
	_, err := decode(99, nil)
	require.ErrorIs(t, err, errMalformed)
}

// TestLongReasonIsCut shows that neither end can have the other log without a bound.
func TestLongReasonIsCut(t *testing.T) {
	long, short := strings.Repeat("a", maxReason+1), Failed{Reason: strings.Repeat("a", maxReason)}
	got, err := decode(kindFailed, []byte(long))
	require.NoError(t, err)
	require.Equal(t, short, got)
	got, err = decode(kindFailed, Failed{Reason: long}.append(nil))
	require.NoError(t, err)
	require.Equal(t, short, got)
}

// FuzzDecode reads anything: what can be read is written as it was, and of a few bytes
// nothing large is made.
func FuzzDecode(f *testing.F) {
	for _, m := range messages {
		f.Add(byte(m.kind()), m.append(nil))
	}
	f.Fuzz(func(t *testing.T, k byte, body []byte) {
		m, err := decode(kind(k), body)
		if err != nil {
			require.Nil(t, m)
			return
		}
		again, err := decode(m.kind(), m.append(nil))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(m), fmt.Sprint(again))
	})
}
