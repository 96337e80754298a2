package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write the golden page anew")

// TestPage compares a whole page with testdata/page.md: a bar that is met, one that is missed,
// with its note and without, one that is not measured, a cell that loses, a busy pair.
func TestPage(t *testing.T) {
	zk := zkCell("set", 1000, 10, 1).beside(zkNullName)
	p := page{
		cells: []cell{putCell, getCell, etcdCell("txn", 1, 1, 1), zk, etcdCell("put", 1, 1, 1).cluster()},
		bars: join(
			atMost("put, the source", cpuRatio, 0.65, putCell.Name), atLeast("put, the source", rateRatio, 1.3, putCell.Name),
			atMost("put, the source", belowTransport, 15, putCell.Name), atMost("get, the source", cpuRatio, 0.75, getCell.Name),
			atMost("txn, the source", cpuRatio, 0.75, "etcd/txn/1"),
			[]bar{{Source: "some", Cells: []string{putCell.Name, getCell.Name}, Figure: rateRatio, Limit: 1.5, Least: true, In: 2}},
			atMost("set, the source", cpuRatio, 0.4, zk.Name),
		),
		records: map[string]*record{
			putCell.Name: recorded(putCell, 0.5, 1.4), getCell.Name: recorded(getCell, 1.2, 0.9), zk.Name: recorded(zk, 0.3, 2),
		},
		notes: readNotes("# Notes\n\nNot of a cell.\n\n## etcd/put/1000\n\nThe transport takes 22 us.\n\n    core/node  3.1 us\n\n## zookeeper/set/1000\n\nThis bar is met.\n\n## heavy\n\nThe disk was slow.\n"),
		heavy: "### A table\n\n| bar | |\n",
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, r := range p.records {
		at = at.Add(0)
		r.Ended = at
		r.Machine = machine{CPU: "a CPU", Cores: 2, MemoryGiB: 24, Kernel: "6.18", Java: "openjdk 17", Go: "go1.26", Commit: "v1-2-gabc"}
		for _, one := range r.Pairs {
			one.Samples[zkNullName] = one.Samples[nullTuned]
		}
	}
	late := p.records[putCell.Name].Pairs[0].Samples[roleTriglot]
	late.Later, late.PerSync = 9, 12
	p.records[putCell.Name].Pairs[0].Samples[roleTriglot] = late
	for _, one := range p.records[zk.Name].Pairs {
		one.Samples[roleTriglot] = sample{Ops: 1, Rate: 200, P50: 1, P99: 1}
	}
	p.records[getCell.Name].Pairs[0].Busy = true
	noted := p.records[getCell.Name].Pairs[1].Samples[roleEtcd]
	noted.Notes = []string{"something else was measured"}
	p.records[getCell.Name].Pairs[1].Samples[roleEtcd] = noted
	p.records[getCell.Name].Pairs = append(p.records[getCell.Name].Pairs, p.records[getCell.Name].Pairs[1])
	compareGolden(t, "page.md", p.write())

	empty := page{cells: cells, bars: bars}
	compareGolden(t, "empty.md", empty.write())
}

func compareGolden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "go test ./bench -run Page -rewrite writes it anew")
}

func TestNotes(t *testing.T) {
	notes := readNotes("intro\n## a/b\n\none\ntwo\n## c/d\n")
	require.Equal(t, map[string]string{"a/b": "\none\ntwo\n"}, notes)
	require.Equal(t, []string{"a/b"}, strangers(notes, cells))
	text, err := os.ReadFile("notes.md")
	require.NoError(t, err)
	require.Empty(t, strangers(readNotes(string(text)), cells), "a note is about a cell that there is")
}
