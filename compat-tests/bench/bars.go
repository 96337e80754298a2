package main

// bar is what issue 7 asks for: of one cell, or of some of several.
type bar struct {
	// Source is the work as the issue names it, and what it asks for.
	Source string
	Cells  []string
	Figure figure
	Limit  float64
	// Least says that the limit is the least, not the most.
	Least bool
	// In is how many of the cells must be within the limit; 0 is all.
	In int
}

// The lines of the table.
const (
	linePut    = "etcd put, 1000 clients over raw stubs, with grpc-go's server"
	lineGet    = "etcd linearizable get, the same"
	lineLarge  = "etcd txn, range of 500, RangeStream of 100 000, count over 1M keys"
	lineWatch  = "watch: one key to 1000 watchers, 1000 keys to one watcher each, catch-up from the ring"
	lineDisk   = "watch catch-up over 100 000 revisions from disk"
	lineSingle = "put by one client"
	lineZKSet  = "ZooKeeper set, create, multi (a null server: 0.13)"
	lineZKGet  = "ZooKeeper get, getChildren (a null server: 0.25)"
	lineThree  = "three members, put and set"
)

// bars are those of issue 7 that this bench judges. Where the issue names no number of
// clients it is 1000. Of the larger key space it asks for twice as much below the transport.
var bars = join(
	atMost(linePut, cpuRatio, 0.65, "etcd/put/1000"),
	atLeast(linePut, rateRatio, 1.3, "etcd/put/1000"),
	atMost(linePut, belowTransport, 15, "etcd/put/1000"),
	atMost(linePut+", 1M keys", belowTransport, 30, "etcd/put/1000/1M"),
	atMost(lineGet, cpuRatio, 0.75, "etcd/get/1000"),
	atLeast(lineGet, rateRatio, 1.15, "etcd/get/1000"),
	atMost(lineGet, belowTransport, 5, "etcd/get/1000"),
	atMost(lineGet+", 1M keys", belowTransport, 10, "etcd/get/1000/1M"),
	atLeast(lineLarge, rateRatio, 1, largeCells...),
	[]bar{{Source: lineLarge, Cells: largeCells, Figure: rateRatio, Limit: 1.5, Least: true, In: 2}},
	atMost(lineWatch, cpuRatio, 0.5, watchCells...),
	atMost(lineWatch, p99Ratio, 1, watchCells...),
	atLeast(lineDisk, rateRatio, 1, "etcd/watch-catchup/disk"),
	atMost(lineSingle, p50Ratio, 0.8, "etcd/put/1"),
	atLeast(lineZKSet, rateRatio, 1.8, zkWrites...),
	atMost(lineZKSet, cpuRatio, 0.4, zkWrites...),
	atLeast(lineZKGet, rateRatio, 1.4, zkReads...),
	atMost(lineZKGet, cpuRatio, 0.4, zkReads...),
	atMost(lineThree, cpuRatio, 0.6, "three/etcd/put/1000", "three/zookeeper/set/1000"),
)

var (
	largeCells = []string{"etcd/txn/1000", "etcd/range/1000", "etcd/range-stream/1", "etcd/count/1/1M"}
	watchCells = []string{"etcd/watch-fanout/10", "etcd/watch-fanout/1000", "etcd/watch-keys", "etcd/watch-catchup/ring"}
	zkWrites   = []string{"zookeeper/set/1000", "zookeeper/create/1000", "zookeeper/multi/1000"}
	zkReads    = []string{"zookeeper/get/1000", "zookeeper/get-children/1000"}
)

func atMost(source string, f figure, limit float64, cells ...string) []bar {
	return each(bar{Source: source, Figure: f, Limit: limit}, cells)
}

func atLeast(source string, f figure, limit float64, cells ...string) []bar {
	return each(bar{Source: source, Figure: f, Limit: limit, Least: true}, cells)
}

// each is the bar for each of the cells by itself.
func each(b bar, cells []string) []bar {
	var list []bar
	for _, name := range cells {
		b.Cells = []string{name}
		list = append(list, b)
	}
	return list
}

func join(lists ...[]bar) []bar {
	var all []bar
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// state says how a bar stands.
type state string

// The states.
const (
	met        state = "met"
	missed     state = "NOT MET"
	unmeasured state = "not measured"
)

// verdict is a bar with what was measured.
type verdict struct {
	bar
	State state
	// Measured are the spreads of the cells that were measured, by name.
	Measured map[string]spread
}

// judge holds a bar against the records of its cells.
func (b bar) judge(records map[string]*record) verdict {
	v := verdict{bar: b, Measured: map[string]spread{}}
	need, good := b.In, 0
	if need == 0 {
		need = len(b.Cells)
	}
	for _, name := range b.Cells {
		r := records[name]
		if r == nil {
			continue
		}
		s, measured := b.Figure.of(r)
		if !measured {
			continue
		}
		v.Measured[name] = s
		if b.within(s.Median) {
			good++
		}
	}
	open := len(b.Cells) - len(v.Measured)
	switch {
	case good >= need:
		v.State = met
	case good+open >= need:
		v.State = unmeasured
	default:
		v.State = missed
	}
	return v
}

func (b bar) within(value float64) bool {
	if b.Least {
		return value >= b.Limit
	}
	return value <= b.Limit
}

// judgeAll holds all the bars against the records.
func judgeAll(bars []bar, records map[string]*record) []verdict {
	verdicts := make([]verdict, len(bars))
	for i, b := range bars {
		verdicts[i] = b.judge(records)
	}
	return verdicts
}
