package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
)

// TestTranscripts runs the scripts in testdata. Their commands:
//
//	open                        open the log
//	append [hs=(term,vote,commit)] [sync=false]
//	index/term data             append entries; data #n is n bytes
//	reset index= term=          reset the log
//	truncate index=             truncate it; waits for the background work
//	log                         what it holds
//	entries lo= hi= [max=]      read entries
//	close                       close it
//	kill                        end the process: what was written stays
//	crash [keep=(file:page,...)]  cut the power: of what was written and not
//	                            synced, only these pages stay
//	full                        let the active segment have no room
//	records                     what is in the files
//	damage file= at= [bytes=]   invert bytes of a file
//	remove file= | rename file= to= | cut file= size= | write file= (text)
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := &script{fs: vfs.NewCrashableMem()}
		datadriven.RunTest(t, path, s.run)
		if s.log != nil {
			require.NoError(t, s.log.Close())
		}
	})
}

type script struct {
	fs   *vfs.MemFS
	log  *Log
	said bytes.Buffer
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	out, err := s.command(t, d)
	if s.log != nil {
		s.log.waitIdle()
	}
	out = s.said.String() + out
	s.said.Reset()
	if err != nil {
		return out + "error: " + err.Error() + "\n"
	}
	if out == "" {
		return "ok\n"
	}
	return out
}

func (s *script) command(t *testing.T, d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "open":
		return "", s.open()
	case "append":
		return "", s.append(t, d)
	case "reset":
		return "", s.log.Reset(number(t, d, "index"), number(t, d, "term"))
	case "truncate":
		return "", s.log.Truncate(number(t, d, "index"))
	case "log":
		return s.describe()
	case "entries":
		limit := uint64(math.MaxUint64)
		d.MaybeScanArgs(t, "max", &limit)
		entries, err := s.log.Entries(number(t, d, "lo"), number(t, d, "hi"), limit)
		return describeEntries(entries), err
	case "close":
		l := s.log
		s.log = nil
		return "", l.Close()
	case "kill":
		l := s.log
		s.log = nil
		return "", l.abandon()
	case "crash":
		return "", s.crash(t, d)
	case "full":
		s.log.w.segment.size = s.log.w.end()
		return "", nil
	case "records":
		return s.records(t), nil
	default:
		return "", s.harm(t, d)
	}
}

func number(t *testing.T, d *datadriven.TestData, name string) uint64 {
	var n uint64
	d.ScanArgs(t, name, &n)
	return n
}

func (s *script) open() error {
	o := testOptions(s.fs)
	o.SegmentBytes = 2 * testSegmentBytes
	o.Logger = slog.New(slog.NewTextHandler(&s.said, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	d, err := openDirectory(s.fs, "log")
	if err != nil {
		return err
	}
	d.logID = 7 // of a new log
	if l, err := open(d, o); err != nil {
		return errors.Join(err, d.close())
	} else {
		s.log = l
	}
	return nil
}

func (s *script) append(t *testing.T, d *datadriven.TestData) error {
	var hs *raftpb.HardState
	if a, ok := d.Arg("hs"); ok {
		var term, vote, commit uint64
		a.Scan(t, 0, &term)
		a.Scan(t, 1, &vote)
		a.Scan(t, 2, &commit)
		hs = hard(term, vote, commit)
	}
	sync := true
	d.MaybeScanArgs(t, "sync", &sync)
	var entries []*raftpb.Entry
	for line := range strings.Lines(d.Input) {
		var index, term uint64
		var data string
		_, err := fmt.Sscanf(line, "%d/%d %s", &index, &term, &data)
		require.NoError(t, err)
		if n, err := strconv.Atoi(strings.TrimPrefix(data, "#")); err == nil {
			data = strings.Repeat("x", n)
		}
		entries = append(entries, entry(index, term, data))
	}
	return s.log.Append(hs, entries, sync)
}

func (s *script) describe() (string, error) {
	first, _ := s.log.FirstIndex()
	last, _ := s.log.LastIndex()
	term, err := s.log.Term(first - 1)
	if err != nil {
		return "", err
	}
	out := fmt.Sprintf("%+v after %d/%d\n", s.log.state, first-1, term)
	if last < first {
		return out, nil
	}
	entries, err := s.log.Entries(first, last+1, math.MaxUint64)
	return out + describeEntries(entries), err
}

func describeEntries(entries []*raftpb.Entry) string {
	var out strings.Builder
	for _, e := range entries {
		data := string(e.GetData())
		if len(data) > 20 {
			data = fmt.Sprintf("#%d", len(data))
		}
		fmt.Fprintf(&out, "%d/%d %s\n", e.GetIndex(), e.GetTerm(), data)
	}
	return out.String()
}

func (s *script) crash(t *testing.T, d *datadriven.TestData) error {
	now := files(t, s.fs)
	lost := files(t, s.fs.CrashClone(vfs.CrashCloneCfg{}))
	err := s.log.abandon()
	s.log = nil
	if keep, ok := d.Arg("keep"); ok {
		for _, v := range keep.Vals {
			name, page, _ := strings.Cut(v, ":")
			n, err := strconv.Atoi(page)
			require.NoError(t, err)
			copy(lost[name][n*pageBytes:(n+1)*pageBytes], now[name][n*pageBytes:])
		}
	}
	s.fs = withFiles(t, lost)
	return err
}

// records shows the files, and in them what is current and what once was.
func (s *script) records(t *testing.T) string {
	var out strings.Builder
	content := files(t, s.fs)
	var sc scanner
	for _, name := range slices.Sorted(maps.Keys(content)) {
		fmt.Fprintf(&out, "%s: %d bytes\n", name, len(content[name]))
		n, err := strconv.Atoi(strings.TrimSuffix(name, segmentSuffix))
		if err != nil {
			continue
		}
		sc = scanner{
			data: content[name], seed: seedOf(7), segment: uint32(n), off: firstRecord,
			oldest: sc.seq == 0, seq: sc.seq, epoch: sc.epoch,
		}
		for sc.next() {
			for _, r := range sc.batch {
				describeRecord(&out, "", &r)
			}
		}
		for off := sc.off; off < int64(len(sc.data)); off += recordAlign {
			if r, ok := decodeRecord(sc.data[off:], sc.seed, sc.segment); ok {
				r.off = off
				describeRecord(&out, "dead: ", &r)
			}
		}
	}
	return out.String()
}

func describeRecord(w io.Writer, prefix string, r *record) {
	names := []string{"", "start", "entry", "state", "reset", "mark"}
	fmt.Fprintf(w, "  %5d %sbatch %d.%d %s", r.off, prefix, r.epoch, r.seq, names[r.kind])
	switch r.kind {
	case kindStart, kindReset:
		fmt.Fprintf(w, " after %d/%d", r.index, r.term)
	case kindEntry:
		fmt.Fprintf(w, " %d/%d of %d bytes", r.index, r.term, len(r.data))
	case kindState:
		fmt.Fprintf(w, " %+v", decodeState(r.data))
	}
	if r.behind > 0 {
		fmt.Fprintf(w, ", %d behind", r.behind)
	}
	if r.flags&flagLast != 0 {
		fmt.Fprint(w, ", last")
	}
	fmt.Fprintln(w)
}

// harm does what nobody should do to the files.
func (s *script) harm(t *testing.T, d *datadriven.TestData) error {
	var name string
	d.ScanArgs(t, "file", &name)
	content := files(t, s.fs)
	switch d.Cmd {
	case "damage":
		at, n := number(t, d, "at"), uint64(1)
		d.MaybeScanArgs(t, "bytes", &n)
		for i := at; i < at+n; i++ {
			content[name][i] ^= 0xff
		}
	case "remove":
		delete(content, name)
	case "rename":
		var to string
		d.ScanArgs(t, "to", &to)
		content[to] = content[name]
		delete(content, name)
	case "cut":
		content[name] = content[name][:number(t, d, "size")]
	case "write":
		content[name] = []byte(d.Input)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	s.fs = withFiles(t, content)
	return nil
}
