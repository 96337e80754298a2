// Package gateway compares Triglot's JSON gateway with that of stock etcd 3.7.3,
// request by request, over plain HTTP and without any client library. What etcd
// answered is recorded in testdata/etcd, among it the requests that APISIX,
// lua-resty-etcd, Patroni and etcd3gw send; where Triglot means to differ, what it
// answers is in testdata/triglot.
package gateway
