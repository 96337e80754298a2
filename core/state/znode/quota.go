package znode

import (
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
)

// A quota on the znode at a path is two ordinary znodes below /zookeeper/quota and that
// path, which clients make (ZooKeeper 3.9 Quotas, StatsTrack): one whose data are the
// limits, and one that shows what is used. What is used is in the row of the latter,
// not in its key: it changes with every write below the path, of whatever face, and
// without a version, an event or a change of the Stat (E4). Views show it as the
// data; through etcd's face the key shows what was written to it.
//
// A znode counts towards the nearest quota at or above it alone, and there is none on
// the root. A store without quotas has no cost: a counter tells.
const (
	limitsName = "/zookeeper_limits"
	statsName  = "/zookeeper_stats"
)

// usage is how many znodes there are at and below a path, and the size of their data.
type usage struct {
	// counted says that the numbers hold; counting that they are still being counted:
	// those of the znodes up to at, in the order of their rows, or of none yet.
	counted, counting bool
	at                string
	count, bytes      int64
}

// text is what a znode of numbers shows.
func (u *usage) text() string {
	var buf [64]byte
	b := strconv.AppendInt(append(buf[:0], "count="...), u.count, 10)
	return string(strconv.AppendInt(append(b, ",bytes="...), u.bytes, 10))
}

// cutQuota returns the path that a znode of a quota is about.
func cutQuota(path, name string) (of string, ok bool) {
	rest, ok := strings.CutPrefix(path, quotaPath)
	if !ok || rest == "" || rest[0] != '/' {
		return "", false
	}
	of, ok = strings.CutSuffix(rest, name)
	return of, ok && of != ""
}

func isLimits(path string) bool {
	_, ok := cutQuota(path, limitsName)
	return ok
}

// limited notes that a znode was made, which may be the limits of a quota: what was
// there before is counted from now on, if the znode for it is there already.
func (t *Tree) limited(path string) error {
	of, ok := cutQuota(path, limitsName)
	if !ok {
		return nil
	}
	t.counts.quotas++
	stats := quotaPath + of + statsName
	n, ok, err := t.get(stats)
	if err != nil || !ok {
		return err
	}
	before := n
	if err := t.countUsage(stats, &n); err != nil {
		return err
	}
	t.set(stats, &n)
	t.reindex(stats, &before, &n)
	return nil
}

// quotaOf is the path of the nearest quota at or above a znode; empty if there is none.
func (t *Tree) quotaOf(path string) (of string, err error) {
	if t.counts.quotas == 0 {
		return "", nil
	}
	for end := 0; end < len(path); {
		next := strings.IndexByte(path[end+1:], '/')
		if end += 1 + next; next < 0 {
			end = len(path)
		}
		at := quotaPath + path[:end]
		n, ok, err := t.get(at)
		if err != nil || !ok {
			return of, err
		}
		if n.children == 0 {
			continue
		}
		if _, ok, err = t.get(at + limitsName); err != nil {
			return "", err
		}
		if ok {
			of = path[:end]
		}
	}
	return of, nil
}

// usageOf reads the znode of the numbers of a quota; ok is false if there is none.
func (t *Tree) usageOf(of string) (path string, n node, ok bool, err error) {
	path = quotaPath + of + statsName
	n, ok, err = t.get(path)
	return path, n, ok && n.used.counted, err
}

// charge notes that there are more znodes at path, and more data, or less.
func (t *Tree) charge(path string, count, bytes int) error {
	if t.counts.quotas == 0 || count == 0 && bytes == 0 {
		return nil
	}
	of, err := t.quotaOf(path)
	if err != nil || of == "" {
		return err
	}
	stats, n, ok, err := t.usageOf(of)
	if err != nil || !ok || !n.used.includes(path) {
		return err
	}
	if _, ok := t.before.used[of]; !ok {
		if t.before.used == nil {
			t.before.used = map[string]usage{}
		}
		t.before.used[of] = n.used
	}
	n.used.count += int64(count)
	n.used.bytes += int64(bytes)
	t.set(stats, &n)
	return nil
}

// checkQuota fails with QuotaExceeded if more znodes at path, or more data, are more
// than a hard limit (ZooKeeper 3.9 ZooKeeperServer.checkQuota). Each operation of a multi
// is judged by what was used before the multi, as ZooKeeper's are: what the operations
// before it took or freed does not count.
func (t *Tree) checkQuota(path string, count, bytes int) error {
	of, err := t.quotaOf(path)
	if err != nil || of == "" {
		return err
	}
	limits, err := t.limitsOf(of)
	if err != nil {
		return err
	}
	_, n, ok, err := t.usageOf(of)
	if err != nil || !ok {
		return err
	}
	used := n.used
	if before, ok := t.before.used[of]; ok {
		used = before
	}
	if count != 0 && limits.count >= 0 && used.count+int64(count) > limits.count ||
		bytes != 0 && limits.bytes >= 0 && used.bytes+int64(bytes) > limits.bytes {
		return core.QuotaExceeded
	}
	return nil
}

// hardLimits are those of a quota; negative is none.
type hardLimits struct{ count, bytes int64 }

// limitsOf reads the hard limits on a path. It fails with BadQuota if they do not parse,
// or are null.
func (t *Tree) limitsOf(of string) (hardLimits, error) {
	none := hardLimits{count: -1, bytes: -1}
	path := quotaPath + of + limitsName
	n, err := t.must(path)
	if err != nil {
		return none, err
	}
	kv, err := t.keyValue(path, &n)
	if err != nil || kv == nil {
		return none, err
	}
	numbers, ok := parseTrack(string(kv.Value))
	if !ok || n.null {
		return none, core.BadQuota
	}
	return hardLimits{count: numberOf(numbers, "countHardLimit"), bytes: numberOf(numbers, "byteHardLimit")}, nil
}

// parseTrack reads what the znodes of a quota hold: pairs of a name and a number, in any
// order (ZooKeeper 3.9 StatsTrack). The odd sign of equality behind the number of bytes
// is there for old parsers.
func parseTrack(text string) (numbers map[string]int64, ok bool) {
	numbers = map[string]int64{}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' }) {
		parts := strings.Split(strings.TrimRight(pair, "="), "=")
		if len(parts) < 2 {
			return nil, false
		}
		number := int64(-1)
		if parts[1] != "" {
			var err error
			if number, err = strconv.ParseInt(parts[1], 10, 64); err != nil {
				return nil, false
			}
		}
		numbers[parts[0]] = number
	}
	return numbers, true
}

// numberOf is a number of parseTrack's, -1 if there is none.
func numberOf(numbers map[string]int64, name string) int64 {
	if n, ok := numbers[name]; ok {
		return n
	}
	return -1
}

// overwriteUsage notes that somebody writes other numbers than were counted: they go on
// from there, as ZooKeeper's do. What does not parse says nothing.
func overwriteUsage(n *node, value []byte) {
	if !n.used.counted {
		return
	}
	if numbers, ok := parseTrack(string(value)); ok {
		n.used = usage{counted: true, count: numberOf(numbers, "count"), bytes: numberOf(numbers, "bytes")}
	}
}
