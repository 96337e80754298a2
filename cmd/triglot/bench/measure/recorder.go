package measure

import (
	"sync"
	"sync/atomic"
	"time"
)

// stripes is how many parts a recorder has: enough that clients on the cores of a
// usual machine seldom meet in one.
const stripes = 16

// Recorder counts what many clients do at once. It is for any number of goroutines.
type Recorder struct {
	stripes [stripes]stripe

	mu     sync.Mutex // guards errors
	errors map[string]int64
	failed atomic.Int64

	// Of the calls of an open loop: how many began, how many of them late, and how late the
	// latest.
	began, late, latest atomic.Int64
}

// LateFrom is how late a call of an open loop begins that began late: less is what a timer,
// and a goroutine that is ready to run, take now and then.
const LateFrom = time.Millisecond

// stripe is a histogram that is counted up by several goroutines.
type stripe struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Int64
	max    atomic.Int64
	done   atomic.Int64
}

// Observe counts n operations, of which one latency is known. Who calls is told by
// client, so that those that call at once hinder each other little.
func (r *Recorder) Observe(client int, latency time.Duration, n int64) {
	s := &r.stripes[uint(client)%stripes]
	s.counts[bucketOf(latency)].Add(1)
	s.sum.Add(int64(latency))
	s.done.Add(n)
	raise(&s.max, int64(latency))
}

// raise makes a number that others raise, too, at least n.
func raise(number *atomic.Int64, n int64) {
	for {
		most := number.Load()
		if n <= most || number.CompareAndSwap(most, n) {
			return
		}
	}
}

// Began counts a call of an open loop, that began so much later than it was to.
func (r *Recorder) Began(late time.Duration) {
	r.began.Add(1)
	if late >= LateFrom {
		r.late.Add(1)
		raise(&r.latest, int64(late))
	}
}

// Late is the share of an open loop's calls that began LateFrom late or more, 0 to 1, and how
// late the latest of them began.
func (r *Recorder) Late() (share float64, latest time.Duration) {
	return float64(r.late.Load()) / float64(max(r.began.Load(), 1)), time.Duration(r.latest.Load())
}

// Fail counts an operation that failed.
func (r *Recorder) Fail(err error) {
	r.failed.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errors == nil {
		r.errors = make(map[string]int64)
	}
	text := err.Error()
	if _, known := r.errors[text]; !known && len(r.errors) >= maxErrorTexts {
		text = "others"
	}
	r.errors[text]++
}

// maxErrorTexts bounds the texts that are kept: some name a key or a port.
const maxErrorTexts = 100

// Failed is how many operations failed.
func (r *Recorder) Failed() int64 { return r.failed.Load() }

// Done is how many operations were done.
func (r *Recorder) Done() int64 {
	var done int64
	for i := range r.stripes {
		done += r.stripes[i].done.Load()
	}
	return done
}

// Errors are the texts of what failed, and how often.
func (r *Recorder) Errors() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	errors := make(map[string]int64, len(r.errors))
	for text, n := range r.errors {
		errors[text] = n
	}
	return errors
}

// Latencies are those of all operations so far. While clients go on, the state is one of
// each counter by itself.
func (r *Recorder) Latencies() *Histogram {
	h := &Histogram{}
	for i := range r.stripes {
		s := &r.stripes[i]
		for b := range s.counts {
			n := s.counts[b].Load()
			h.counts[b] += n
			h.count += n
		}
		h.sum += time.Duration(s.sum.Load())
		h.max = max(h.max, time.Duration(s.max.Load()))
	}
	return h
}
