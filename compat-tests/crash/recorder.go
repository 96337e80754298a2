package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// groupSizes are the numbers of keys of the groups of TestHistories: most have
// one, so that many clients meet on it.
var groupSizes = []int{1, 1, 1, 3, 3}

// keyOf is the name of a key of a group.
func keyOf(group, key int) []byte { return fmt.Appendf(nil, "history/%d/%d", group, key) }

// Recorder has clients compete for a few keys and records what they saw. It is
// for one goroutine, which starts theirs and waits for them.
type Recorder struct {
	began   time.Time
	clients []*competitor
}

// competitor is one client: one call at a time.
type competitor struct {
	id      int
	random  *rand.Rand
	written int
	// known is the last value seen of each key: what a swap expects.
	known   map[[2]int]string
	history []porcupine.Operation
}

// NewRecorder prepares so many clients. seed makes what they choose repeatable.
func NewRecorder(clients int, seed uint64) *Recorder {
	r := &Recorder{began: time.Now()}
	for i := range clients {
		r.clients = append(r.clients, &competitor{
			id: i, random: rand.New(rand.NewPCG(seed, uint64(i))), known: map[[2]int]string{},
		})
	}
	return r
}

// now is the moment of an event of the history.
func (r *Recorder) now() int64 { return time.Since(r.began).Nanoseconds() }

// Live loads the server at endpoint until so many requests were answered, then
// calls kill and waits until every client has noticed. quota is at least 2. The
// last request of each client stays open: see Reborn.
func (r *Recorder) Live(ctx context.Context, endpoint string, quota int64, kill func() error) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	conns := make([]*grpc.ClientConn, 3)
	for i := range conns {
		conn, err := dial(endpoint)
		if err != nil {
			return nil, err
		}
		conns[i] = conn
	}
	life := newLife(quota)
	var wg sync.WaitGroup
	for i, c := range r.clients {
		wg.Go(func() { r.compete(ctx, c, etcdserverpb.NewKVClient(conns[i%len(conns)]), life) })
	}
	life.await(ctx)
	life.doomed.Store(true)
	killErr := kill()
	wg.Wait()
	return life.broken, errors.Join(killErr, closeAll(conns))
}

// Reborn ends the requests that were open when the server died. It is called
// when the server has started again: a request whose connection is gone has been
// done by then, or will never be.
func (r *Recorder) Reborn() {
	for _, c := range r.clients {
		for i := range c.history {
			if c.history[i].Return == 0 {
				c.history[i].Return = r.now()
			}
		}
	}
}

// History is all that was recorded.
func (r *Recorder) History() []porcupine.Operation {
	var all []porcupine.Operation
	for _, c := range r.clients {
		all = append(all, c.history...)
	}
	return all
}

// compete makes requests until the first error.
func (r *Recorder) compete(ctx context.Context, c *competitor, kv etcdserverpb.KVClient, life *life) {
	for {
		request := c.choose()
		call := r.now()
		answer, err := request.send(ctx, kv)
		operation := porcupine.Operation{ClientId: c.id, Input: request, Output: answer, Call: call}
		if err != nil {
			life.failed(fmt.Sprintf("client %d: %v", c.id, request), err)
			operation.Output = answerUnknown
			c.history = append(c.history, operation)
			return
		}
		operation.Return = r.now()
		c.history = append(c.history, operation)
		c.learn(request, answer)
		life.acknowledged(answer.rev)
	}
}

// choose makes up a request.
func (c *competitor) choose() request {
	group := c.random.IntN(len(groupSizes))
	keys := c.random.Perm(groupSizes[group])
	r := request{group: group}
	switch choice := c.random.IntN(10); {
	case choice < 3:
		r.then = []step{{kind: stepGet, key: keys[0]}}
	case choice < 5:
		r.then = []step{c.put(keys[0])}
	case choice < 6:
		r.then = []step{{kind: stepDelete, key: keys[0]}}
	case choice < 8: // compare and swap
		r.guards = []guard{{key: keys[0], value: c.known[[2]int{group, keys[0]}]}}
		r.then = []step{c.put(keys[0])}
		r.otherwise = []step{{kind: stepGet, key: keys[0]}}
	default: // all keys of the group, each in its way
		for _, key := range keys {
			switch c.random.IntN(4) {
			case 0:
				r.then = append(r.then, step{kind: stepGet, key: key})
			case 1:
				r.then = append(r.then, step{kind: stepDelete, key: key})
			default:
				r.then = append(r.then, c.put(key))
			}
			r.otherwise = append(r.otherwise, step{kind: stepGet, key: key})
		}
		r.guards = []guard{{key: keys[0], value: c.known[[2]int{group, keys[0]}]}}
	}
	return r
}

func (c *competitor) put(key int) step {
	c.written++
	return step{kind: stepPut, key: key, value: fmt.Sprintf("c%d-%d", c.id, c.written)}
}

// learn remembers the values that an answer implies.
func (c *competitor) learn(r request, a answer) {
	for i, step := range r.branch(a.taken) {
		key := [2]int{r.group, step.key}
		switch step.kind {
		case stepGet:
			c.known[key] = a.read[i].row.Value
		case stepPut:
			c.known[key] = step.value
		case stepDelete:
			c.known[key] = ""
		}
	}
}
