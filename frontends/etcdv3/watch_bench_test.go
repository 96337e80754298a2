package etcdv3

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/triglot/triglot/core/node"
)

// BenchmarkWatchStreams is one put and its event to 1000 streams, through gRPC.
func BenchmarkWatchStreams(b *testing.B) {
	for _, size := range []int{1 << 10, 30 << 10} {
		for _, streams := range []int{1, 1000} {
			b.Run(fmt.Sprintf("value=%d/streams=%d", size, streams), func(b *testing.B) {
				s := startServer(b, func(c *node.Config, _ *Config) { c.Limits.RequestBytes = 1 << 20 })
				var got sync.WaitGroup
				for range streams {
					w := s.watcher(b.Context())
					w.create(&pb.WatchCreateRequest{Key: []byte("k")})
					require.True(b, w.receive().Created)
					go func() {
						for {
							if _, err := w.stream.Recv(); err != nil {
								return
							}
							got.Done()
						}
					}()
				}
				value := string(bytes.Repeat([]byte{'v'}, size))
				b.ReportAllocs()
				b.SetBytes(int64(size * streams))
				for b.Loop() {
					got.Add(streams)
					s.put("k", value)
					got.Wait()
				}
			})
		}
	}
}
