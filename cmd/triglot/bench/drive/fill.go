package drive

import (
	"context"
	"sync/atomic"
)

// Filler deals out the keys that a fill writes, each once. The last one is dealt out when
// all others are written: if it is there a fill has come to its end, and a fill that was
// broken off leaves no hole behind that nobody sees. It is for any number of goroutines.
type Filler struct {
	count       int64
	dealt, done atomic.Int64
	failed      atomic.Pointer[error] // why a key was not written, the first time
	others      chan struct{}         // closed once all but the last key are done
}

// NewFiller deals out the numbers below count.
func NewFiller(count int) *Filler {
	f := &Filler{count: int64(count), others: make(chan struct{})}
	if count == 1 {
		close(f.others)
	}
	return f
}

// Next has the next key written, and returns write's error, or Exhausted's if there is none.
// If any other key failed the last one is not written, and Next returns that key's error.
func (f *Filler) Next(ctx context.Context, write func(i int) error) error {
	i := f.dealt.Add(1) - 1
	if i >= f.count {
		return Exhausted()
	}
	if i == f.count-1 {
		select {
		case <-f.others:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := f.failed.Load(); err != nil {
			return *err
		}
	}
	err := write(int(i))
	if err != nil {
		f.failed.CompareAndSwap(nil, &err)
	}
	if f.done.Add(1) == f.count-1 {
		close(f.others)
	}
	return err
}
