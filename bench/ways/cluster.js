// The server of the ways node-rr and node-none: its arguments are rr or none, host, port, and the number of workers.
'use strict'
const cluster = require('node:cluster')
const http = require('node:http')

const [policy, host, port, workers] = process.argv.slice(2)
const backlog = 65535 // the kernel takes at most net.core.somaxconn; Node's own default is 511

if (cluster.isPrimary) {
  primary()
} else {
  worker()
}

function primary () {
  cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE
  let served = false
  let stopping = false
  cluster.on('listening', (_, address) => {
    served = true
    console.log(`worker ${host.includes(':') ? `[${host}]` : host}:${address.port}`)
  })
  cluster.on('exit', worker => {
    if (!served) process.exit(1) // none ever will
    if (!stopping && !worker.exitedAfterDisconnect) cluster.fork()
  })
  for (let i = 0; i < Number(workers); i++) cluster.fork()
  require('node:readline').createInterface({ input: process.stdin })
    .on('line', async () => {
      await restart()
      console.log('restarted')
    })
    .on('close', () => { // of standard input: the order to stop
      stopping = true
      cluster.disconnect(() => process.exit(0))
    })
}

// restart replaces one worker after the other, the new one first.
async function restart () {
  for (const old of Object.values(cluster.workers)) {
    await new Promise(resolve => cluster.fork().once('listening', resolve))
    const exited = new Promise(resolve => old.once('exit', resolve))
    old.disconnect() // it closes its servers, and its idle connections, and finishes its requests
    await exited
  }
}

function worker () {
  const pid = String(process.pid)
  const server = http.createServer((request, response) => {
    const at = request.url.indexOf('?burn=')
    if (at >= 0) burn(Number(request.url.slice(at + 6)))
    response.writeHead(200, { Worker: pid, 'Content-Type': 'text/plain', 'Content-Length': 6 })
    response.end('hello\n')
  })
  server.keepAliveTimeout = 0 // none: the default of 5 s would close connections that a slow client has
  server.listen({ host, port: Number(port), backlog })
}

// burn uses CPU time of the process, whose other threads have little to do. That of the thread (process.threadCpuUsage)
// moves with the clock tick only, each 4 ms here: getrusage(2) with RUSAGE_THREAD leaves out what has run since.
function burn (microseconds) {
  const begin = process.cpuUsage()
  for (;;) {
    const used = process.cpuUsage(begin)
    if (used.user + used.system >= microseconds) return
  }
}
