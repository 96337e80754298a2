package mvcc

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// cacheMachine runs the protocol of the cache one step at a time: engine commits,
// the Writer's update of each entry, the publishing of views, reads whose fill
// comes arbitrarily late, evictions. The model stands for the engine.
type cacheMachine struct {
	cache *Cache
	model *model
	rev   core.Rev
	index uint64

	// unpublished are the entries of a committed batch that the Writer has yet to
	// write; while there are any, and until the view is published, it does
	// nothing else.
	unpublished []*core.KV
	committed   bool
	views       []cacheView
	reads       []cacheRead
}

type cacheView struct {
	index uint64
	rev   core.Rev
}

// cacheRead is a read that has been to the engine and has yet to fill the cache.
type cacheRead struct {
	kv    *core.KV
	index uint64
}

func (m *cacheMachine) commit(t *rapid.T) {
	if m.committed {
		return
	}
	m.index++
	m.committed = true
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		m.rev++
		key := rapid.SampledFrom(machineKeys).Draw(t, "key")
		prev := m.model.get(key, newestRev)
		kv := absence([]byte(key), m.rev)
		if prev == nil || rapid.IntRange(0, 2).Draw(t, "delete") > 0 {
			kv = next(prev, key, m.rev, string(make([]byte, rapid.SampledFrom([]int{0, 10, 100, 5000}).Draw(t, "size"))), 0)
		}
		m.model.put(kv, 0)
		for i, other := range m.unpublished {
			if bytes.Equal(other.Key, kv.Key) {
				m.unpublished = append(m.unpublished[:i], m.unpublished[i+1:]...)
				break
			}
		}
		m.unpublished = append(m.unpublished, kv)
	}
}

// update is one step of the Writer after a commit: an entry, or the new view.
func (m *cacheMachine) update(t *rapid.T) {
	switch {
	case !m.committed:
	case len(m.unpublished) > 0:
		kv := m.unpublished[0]
		var guess *core.KV
		if rapid.Bool().Draw(t, "guess") {
			guess = m.cache.get(hashOf(kv.Key), kv.Key, newestRev)
		}
		m.cache.write(hashOf(kv.Key), kv, guess, m.index)
		m.unpublished = m.unpublished[1:]
	default:
		m.committed = false
		m.views = append(m.views, cacheView{m.index, m.rev})
	}
}

func (m *cacheMachine) view(t *rapid.T) cacheView {
	// The newest views are the interesting ones.
	return m.views[len(m.views)-1-rapid.IntRange(0, min(3, len(m.views)-1)).Draw(t, "age of view")]
}

func (m *cacheMachine) beginRead(t *rapid.T) {
	v := m.view(t)
	key := rapid.SampledFrom(machineKeys).Draw(t, "key")
	kv := m.model.row(key, v.rev)
	if kv == nil {
		kv = absence([]byte(key), v.rev)
	}
	m.reads = append(m.reads, cacheRead{kv, v.index})
}

func (m *cacheMachine) endRead(t *rapid.T) {
	if len(m.reads) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.reads)-1).Draw(t, "read")
	m.cache.fill(hashOf(m.reads[i].kv.Key), m.reads[i].kv, m.reads[i].index)
	m.reads = append(m.reads[:i], m.reads[i+1:]...)
}

// writerRead is a Writer's lookup, which knows that nobody else writes.
func (m *cacheMachine) writerRead(t *rapid.T) {
	key := rapid.SampledFrom(machineKeys).Draw(t, "key")
	if m.committed {
		return
	}
	if kv := m.model.get(key, newestRev); kv != nil {
		m.cache.fill(hashOf(kv.Key), kv, ^uint64(0))
	}
}

// get checks what the cache says, to any view and to the Writer.
func (m *cacheMachine) get(t *rapid.T) {
	at := m.view(t).rev
	if rapid.Bool().Draw(t, "history") {
		at = core.Rev(rapid.Int64Range(1, int64(at)).Draw(t, "at"))
	}
	for _, key := range machineKeys {
		if kv := m.cache.get(hashOf([]byte(key)), []byte(key), at); kv != nil {
			equalKV(t, m.model.get(key, at), live(kv), false, "%q at %d", key, at)
		}
		if m.committed {
			continue
		}
		if kv := m.cache.get(hashOf([]byte(key)), []byte(key), newestRev); kv != nil {
			equalKV(t, m.model.get(key, newestRev), live(kv), false, "newest %q", key)
		}
	}
}

// clear happens rarely, or the cache would be empty most of the time.
func (m *cacheMachine) clear(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
		m.cache.Clear(m.index)
	}
}

func (m *cacheMachine) check(t *rapid.T) {
	s := m.cache.Stats()
	var bytes int64
	for i := range m.cache.shards {
		sh := &m.cache.shards[i]
		require.LessOrEqual(t, sh.bytes, sh.limit)
		count := 0
		for j, slot := range sh.entries.slots {
			if slot.entry == nil {
				continue
			}
			require.Equal(t, j, sh.find(hashOf(slot.entry.Key), slot.entry.Key, nil))
			bytes += entrySize(slot.entry)
			count++
		}
		require.Equal(t, count, sh.entries.count)
	}
	require.Equal(t, bytes, s.Bytes)
}

// A read never gets anything but the version that its view shows, whatever the
// interleaving of commits, updates, publishing, late fills and evictions.
func TestCacheAgainstModel(t *testing.T) {
	for i := range 30 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &cacheMachine{
					cache: NewCache(rapid.SampledFrom([]int64{0, 800, 1600, 50_000}).Draw(t, "cache")),
					model: newModel(), rev: 1, index: 1, views: []cacheView{{1, 1}},
				}
				t.Repeat(map[string]func(*rapid.T){
					"commit": m.commit, "update": m.update, "update 2": m.update,
					"beginRead": m.beginRead, "endRead": m.endRead, "writerRead": m.writerRead,
					"get": m.get, "clear": m.clear, "": m.check,
				})
			})
		})
	}
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := NewCache(100 * (96 + slotOverhead + 5 + 10))
	kv := func(i int) *core.KV { return next(nil, fmt.Sprintf("key%02d", i%100), 1, "1234567890", 0) }
	for i := range 50 {
		c.fill(hashOf(kv(i).Key), kv(i), 1)
	}
	for i := range 500 { // a stream of keys that are used once
		for hot := range 10 {
			require.NotNil(t, c.get(hashOf(kv(hot).Key), kv(hot).Key, 1), "round %d, key %d", i, hot)
		}
		once := &core.KV{Key: fmt.Append(nil, "c", i), Value: []byte("1234567890"), ModRev: 1, Version: 1}
		c.fill(hashOf(once.Key), once, 1)
	}
	s := c.Stats()
	require.InDelta(t, 100, s.Entries, 2)
	require.EqualValues(t, 5000, s.Hits)
	require.Zero(t, s.Misses)
}

// What is evicted leaves room all over the table: searches stay short for as long as new
// keys push out old ones.
func TestCacheThatIsFullIsSearchedQuickly(t *testing.T) {
	c := NewCache(1 << 20)
	churn(c, 50_000)
	sh := &c.shards[0]
	require.Greater(t, sh.entries.count, 2000)
	require.Less(t, longestRun(sh.entries.slots), 150, "of %d entries in %d slots", sh.entries.count, len(sh.entries.slots))
}

// churn fills c with so many keys, each once.
func churn(c *Cache, keys int) {
	for i := range keys {
		kv := &core.KV{Key: fmt.Appendf(nil, "key%09d", i), Value: make([]byte, 256), ModRev: 1, Version: 1}
		c.fill(hashOf(kv.Key), kv, 1)
	}
}

// longestRun is how many slots in a row have an entry, at most: a search may go over them.
func longestRun(slots []tableSlot[*core.KV]) (longest int) {
	run := 0
	for _, s := range slots {
		if run++; s.entry == nil {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// What a reader of a view from before a Clear found does not come back.
func TestClearShutsOutOlderViews(t *testing.T) {
	c := NewCache(1 << 20)
	kv := next(nil, "key", 2, "value", 0)
	hash := hashOf(kv.Key)
	c.fill(hash, kv, 4)
	c.Clear(5)
	require.Nil(t, c.get(hash, kv.Key, 9))
	c.fill(hash, kv, 4)
	require.Nil(t, c.get(hash, kv.Key, 9))
	c.fill(hash, kv, 5)
	require.Equal(t, kv, c.get(hash, kv.Key, 9))
	require.EqualValues(t, 1, c.Stats().Entries)
}

func TestCacheSizes(t *testing.T) {
	for bytes, shards := range map[int64]int{-1: 1, 0: 1, 1 << 20: 1, 3 << 20: 2, 64 << 20: 64, 1 << 40: maxShards} {
		c := NewCache(bytes)
		require.Len(t, c.shards, shards)
		require.Equal(t, max(0, bytes)/int64(shards), c.shards[0].limit)
	}
}
