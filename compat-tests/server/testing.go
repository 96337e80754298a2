package server

import (
	"context"
	"testing"
)

// StartT starts a server for one test and stops it when the test ends. If the
// test has failed by then, the end of the server's log is added to the test's.
// An empty Target means the one of TargetFromEnv.
func StartT(t testing.TB, o Options) *Process {
	t.Helper()
	if o.Target == "" {
		target, err := TargetFromEnv()
		if err != nil {
			t.Fatal(err)
		}
		o.Target = target
	}
	p, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", p.Target(), p.LogTail())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}
