package mvcc

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// transcript runs the commands of a file in testdata/transcripts on one store:
//
//	write                 one batch; lines: REV put KEY VALUE [lease=N] | REV del
//	                      KEY | get KEY [AT] | scan | mark | rollback
//	get key=K [at=N]      scan [from=K] [to=K] [at=N] [keys-only]      count ...
//	revisions from=N [prev] [max=N] [from-key=K]
//	compact to=N          the view from then on, and the collector to its end
//	rows                  what the engine holds
type transcript struct {
	t         *testing.T
	db        *storage.DB
	cache     *Cache
	writer    *Writer
	collector *Collector

	index           uint64
	rev, compactRev core.Rev
	sub             uint32
	marks           []Mark
}

// The tables as files that can be read: how versions are stored and found, what
// an undone write leaves, what collection takes.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		tr := &transcript{t: t, db: mustOpen(t, storage.Options{}), cache: NewCache(0), rev: 1}
		tr.writer = mustWriter(t, tr.db, Caches{Versions: tr.cache})
		var err error
		tr.collector, err = NewCollector(tr.db, CollectorOptions{Share: 1})
		require.NoError(t, err)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			tr.t = t
			return tr.run(d)
		})
	})
}

func (tr *transcript) run(d *datadriven.TestData) string {
	reader := NewReader(tr.db, Caches{Versions: tr.cache}, tr.index, tr.rev, tr.compactRev)
	var out strings.Builder
	switch d.Cmd {
	case "write":
		for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
			tr.write(&out, strings.Fields(line))
		}
		tr.index++
		require.NoError(tr.t, tr.writer.Commit(tr.index))
	case "get":
		kv, err := reader.Get([]byte(arg(d, "key", "")), rev(d, "at"))
		require.NoError(tr.t, err)
		printKV(&out, kv)
	case "scan":
		require.NoError(tr.t, reader.Scan(interval(d), rev(d, "at"), d.HasArg("keys-only"), func(kv *core.KV) bool {
			printKV(&out, kv)
			return true
		}))
	case "count":
		n, err := reader.Count(context.Background(), interval(d), rev(d, "at"))
		require.NoError(tr.t, err)
		fmt.Fprintln(&out, n)
	case "revisions":
		limit, err := strconv.Atoi(arg(d, "max", "1000000"))
		require.NoError(tr.t, err)
		revs, next, err := reader.Revisions(tr.t.Context(), rev(d, "from"), interval(d), d.HasArg("prev"), limit)
		if err != nil {
			return err.Error() + "\n"
		}
		printRevisions(&out, revs, next)
	case "compact":
		tr.compactRev = rev(d, "to")
		require.NoError(tr.t, tr.collector.Collect(tr.t.Context(), tr.compactRev))
		fmt.Fprintf(&out, "written %d, freed %d\n", tr.writer.Written(), tr.collector.Freed())
	case "rows":
		tr.printRows(&out)
	default:
		d.Fatalf(tr.t, "unknown command %s", d.Cmd)
	}
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

// write does one line of a batch.
func (tr *transcript) write(out *strings.Builder, words []string) {
	switch words[0] {
	case "mark":
		tr.marks = append(tr.marks, tr.writer.Mark())
		return
	case "rollback":
		tr.writer.Rollback(tr.marks[len(tr.marks)-1])
		tr.marks = tr.marks[:len(tr.marks)-1]
		return
	case "get":
		var at int64
		if len(words) > 2 {
			at, _ = strconv.ParseInt(words[2], 10, 64)
		}
		kv, err := tr.writer.Get([]byte(words[1]), core.Rev(at))
		require.NoError(tr.t, err)
		printKV(out, kv)
		return
	case "scan":
		require.NoError(tr.t, tr.writer.Scan(everything, 0, false, func(kv *core.KV) bool {
			printKV(out, kv)
			return true
		}))
		return
	}
	n, err := strconv.ParseInt(words[0], 10, 64)
	require.NoError(tr.t, err)
	if core.Rev(n) != tr.rev {
		tr.rev, tr.sub = core.Rev(n), 0
	}
	prev, err := tr.writer.Get([]byte(words[2]), 0)
	require.NoError(tr.t, err)
	switch words[1] {
	case "put":
		var lease core.LeaseID
		if len(words) > 4 {
			_, err := fmt.Sscanf(words[4], "lease=%d", &lease)
			require.NoError(tr.t, err)
		}
		tr.writer.Put(next(prev, words[2], tr.rev, words[3], lease), tr.sub, prev)
	case "del":
		tr.writer.Delete([]byte(words[2]), tr.rev, tr.sub, prev, 0)
	}
	tr.sub++
}

func arg(d *datadriven.TestData, name, otherwise string) string {
	for _, a := range d.CmdArgs {
		if a.Key == name && len(a.Vals) == 1 {
			return a.Vals[0]
		}
	}
	return otherwise
}

func rev(d *datadriven.TestData, name string) core.Rev {
	n, err := strconv.ParseInt(arg(d, name, "0"), 10, 64)
	if err != nil {
		return 0
	}
	return core.Rev(n)
}

func interval(d *datadriven.TestData) core.Interval {
	iv := core.Interval{Key: []byte(arg(d, "first", "\x00")), End: []byte(arg(d, "end", "\x00"))}
	return iv
}

func printKV(out *strings.Builder, kv *core.KV) {
	switch {
	case kv == nil:
		fmt.Fprintln(out, "none")
	case kv.Deleted():
		fmt.Fprintf(out, "%s deleted at %d\n", kv.Key, kv.ModRev)
	default:
		fmt.Fprintf(out, "%s=%s created %d, modified %d, version %d", kv.Key, kv.Value, kv.CreateRev, kv.ModRev, kv.Version)
		if kv.Lease != 0 {
			fmt.Fprintf(out, ", lease %d", kv.Lease)
		}
		fmt.Fprintln(out)
	}
}

func printRevisions(out *strings.Builder, revs []*core.Revision, next core.Rev) {
	for _, r := range revs {
		fmt.Fprintf(out, "revision %d\n", r.Rev)
		for _, c := range r.Changes {
			fmt.Fprint(out, "  ")
			printKV(out, c.KV)
			if c.Prev != nil {
				fmt.Fprint(out, "    was ")
				printKV(out, c.Prev)
			}
		}
	}
	fmt.Fprintf(out, "next %d\n", next)
}

// printRows prints the rows of all tables.
func (tr *transcript) printRows(out *strings.Builder) {
	it, err := tr.db.NewIter([]byte{0, 0}, []byte{0xff, 0})
	require.NoError(tr.t, err)
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		require.NoError(tr.t, err)
		if key, rev, ok := keys.DecodeVersion(it.Key()); ok {
			r, err := decodeRow(value, rev)
			require.NoError(tr.t, err)
			fmt.Fprintf(out, "d %s@%d: ", key, rev)
			printKV(out, r.kv(key, rev))
		} else if rev, sub, ok := keys.DecodeChange(it.Key()); ok {
			c, err := decodeChange(value, rev)
			require.NoError(tr.t, err)
			kind := "put"
			if c.deleted {
				kind = "delete"
			}
			fmt.Fprintf(out, "r %d.%d: %s %s (%d bytes), before it %d (%d bytes)\n", rev, sub, kind, c.key, c.len, c.prevRev, c.prevLen)
		} else if name, ok := keys.DecodeMeta(it.Key()); ok {
			fmt.Fprintf(out, "m %s: %d\n", name, binary.BigEndian.Uint64(value))
		}
	}
	require.NoError(tr.t, it.Close())
}
