// The load generator: WebSocket ping-pong of chat messages over gorilla's client, one goroutine a connection.
//
// Prints one JSON object: messages a second and the round trip's percentiles, in milliseconds.
package main

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"sort"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

type result struct {
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Messages int     `json:"messages"`
	All      int     `json:"all_messages"` // with the warm-up's
	CPU      float64 `json:"load_cpu"`
	Errors   int     `json:"errors"`
}

func main() {
	address := flag.String("url", "ws://127.0.0.1:9001/chat", "where to")
	connections := flag.Int("connections", 16, "how many")
	picture := flag.Int("picture", 0, "bytes of the picture before Base64; 0: none")
	warm := flag.Duration("warm", 300*time.Millisecond, "not measured, at the start")
	duration := flag.Duration("duration", 2*time.Second, "measured")
	flag.Parse()
	runtime.GOMAXPROCS(1)

	message := map[string]string{"text": "Where is my order 12345? I sent a picture of the parcel."}
	if *picture > 0 {
		pixels := make([]byte, *picture)
		rand.New(rand.NewSource(7)).Read(pixels)
		message["image"] = base64.StdEncoding.EncodeToString(pixels)
	}
	payload, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	want, _ := json.Marshal(*picture)
	wanted := `"n":` + string(want) + "}"

	sockets := make([]*websocket.Conn, *connections)
	dialer := websocket.Dialer{ReadBufferSize: 4096, WriteBufferSize: 256 * 1024}
	for i := range sockets {
		socket, _, err := dialer.Dial(*address, nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		sockets[i] = socket
	}
	begin := time.Now().Add(*warm)
	end := begin.Add(*duration)
	times := make([][]float64, *connections)
	errors := make([]int, *connections)
	counts := make([]int, *connections)
	var group sync.WaitGroup
	for i := range sockets {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			socket := sockets[i]
			for {
				start := time.Now()
				if start.After(end) {
					return
				}
				if err := socket.WriteMessage(websocket.TextMessage, payload); err != nil {
					errors[i]++
					return
				}
				_, answer, err := socket.ReadMessage()
				if err != nil || len(answer) < len(wanted) || string(answer[len(answer)-len(wanted):]) != wanted {
					errors[i]++
					return
				}
				counts[i]++
				if start.After(begin) {
					times[i] = append(times[i], time.Since(start).Seconds()*1000)
				}
			}
		}(i)
	}
	group.Wait()
	elapsed := time.Since(begin).Seconds()
	cpu := cpuSeconds()
	for _, socket := range sockets {
		normal := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		socket.WriteControl(websocket.CloseMessage, normal, time.Now().Add(time.Second))
		socket.Close()
	}
	var all []float64
	failed, total := 0, 0
	for i := range times {
		all = append(all, times[i]...)
		failed += errors[i]
		total += counts[i]
	}
	sort.Float64s(all)
	r := result{Messages: len(all), All: total, Rate: float64(len(all)) / elapsed, Errors: failed, CPU: cpu / (elapsed + warm.Seconds())}
	if len(all) > 0 {
		r.P50 = all[len(all)/2]
		r.P99 = all[len(all)*99/100]
	}
	json.NewEncoder(os.Stdout).Encode(r)
}
