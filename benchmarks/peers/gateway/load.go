// Load for bench_gateway: `concurrency` clients, each sending a picture and waiting for its tags, for `seconds`.
//
// Speaks WebSocket (-mode ws) or HTTP with kept-alive connections (-mode http). The payload is the same JSON:
// {"image": "<Base64>"}. Every picture is a different file, so that no cache of results can answer. Prints one JSON
// object: answers, errors, rate, p50_ms, p99_ms, and the CPU seconds that this process itself used.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

type answer struct {
	Type string            `json:"type"`
	Tags []json.RawMessage `json:"tags"`
}

func good(data []byte) bool {
	var parsed answer
	return json.Unmarshal(data, &parsed) == nil && (parsed.Type == "reply" || len(parsed.Tags) == 5)
}

type client func(payload []byte) ([]byte, error)

func wsClient(url, token string) (client, error) {
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	// One frame a message, as browsers send it; the default would cut it into frames of 4 KB.
	dialer := websocket.Dialer{WriteBufferSize: 1 << 18, ReadBufferSize: 1 << 16}
	connection, _, err := dialer.Dial(url, header)
	if err != nil {
		return nil, err
	}
	return func(payload []byte) ([]byte, error) {
		if err := connection.WriteMessage(websocket.TextMessage, payload); err != nil {
			return nil, err
		}
		_, data, err := connection.ReadMessage()
		return data, err
	}, nil
}

func httpClient(url string) client {
	transport := &http.Transport{MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1}
	session := &http.Client{Transport: transport}
	return func(payload []byte) ([]byte, error) {
		response, err := session.Post(url, "application/json", bytes.NewReader(payload))
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		return io.ReadAll(response.Body)
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}

func main() {
	url := flag.String("url", "", "where to send")
	mode := flag.String("mode", "ws", "ws or http")
	token := flag.String("token", "", "bearer token")
	pictures := flag.String("pictures", "", "folder of JPEG files")
	concurrency := flag.Int("concurrency", 1, "clients")
	seconds := flag.Float64("seconds", 5, "measured time")
	warm := flag.Float64("warm", 1, "seconds before measuring")
	flag.Parse()

	files, _ := filepath.Glob(filepath.Join(*pictures, "*.jpg"))
	payloads := make([][]byte, 0, len(files))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		payloads = append(payloads, []byte(`{"image":"`+base64.StdEncoding.EncodeToString(data)+`"}`))
	}
	if len(payloads) == 0 {
		fmt.Fprintln(os.Stderr, "no pictures")
		os.Exit(2)
	}

	var next, errors, all atomic.Int64
	var mutex sync.Mutex
	var latencies []float64
	begin := time.Now().Add(time.Duration(*warm * float64(time.Second)))
	end := begin.Add(time.Duration(*seconds * float64(time.Second)))
	var group sync.WaitGroup
	firstError := ""
	for i := 0; i < *concurrency; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			var ask client
			var err error
			if *mode == "ws" {
				ask, err = wsClient(*url, *token)
				if err != nil {
					errors.Add(1)
					mutex.Lock()
					firstError = err.Error()
					mutex.Unlock()
					return
				}
			} else {
				ask = httpClient(*url)
			}
			own := make([]float64, 0, 4096)
			for {
				started := time.Now()
				if started.After(end) {
					break
				}
				payload := payloads[int(next.Add(1))%len(payloads)]
				data, err := ask(payload)
				finished := time.Now()
				if err != nil || !good(data) {
					errors.Add(1)
					mutex.Lock()
					if firstError == "" {
						firstError = fmt.Sprint(err, " ", string(data[:min(len(data), 200)]))
					}
					mutex.Unlock()
					if err != nil {
						break
					}
					continue
				}
				all.Add(1)
				if started.After(begin) && finished.Before(end) {
					own = append(own, finished.Sub(started).Seconds()*1000)
				}
			}
			mutex.Lock()
			latencies = append(latencies, own...)
			mutex.Unlock()
		}()
	}
	time.Sleep(time.Until(begin))
	before := cpuSeconds()
	time.Sleep(time.Until(end))
	used := cpuSeconds() - before
	group.Wait()
	sort.Float64s(latencies)
	at := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[min(int(share*float64(len(latencies))), len(latencies)-1)]
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"answers": len(latencies), "all_answers": all.Load(), "errors": errors.Load(), "first_error": firstError,
		"rate": float64(len(latencies)) / *seconds, "p50_ms": at(0.5), "p99_ms": at(0.99),
		"load_cpu_share": used / *seconds,
	})
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
