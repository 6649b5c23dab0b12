// kafkajs: produces the content of tests/clients/README.md (reading back is for the other clients,
// since kafkajs reads in groups only). It cannot
// send a null header, so its prefix must begin with nonull. kafkajs brings gzip; snappy comes from kafkajs-snappy.
'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const RECORDS = 200
const AUTO_RECORDS = 100
const PARTITIONS = 3
const LARGE = 900000
const MIB = 1048576

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

function large(size, p) {
  const bytes = Buffer.alloc(size)
  for (let j = 0; j < size; j++) bytes[j] = (j * 31 + Math.floor(j / 251) + p) & 255
  return bytes
}

function key(p, i) {
  if (i % 5 === 0) return null
  return Buffer.from(i % 7 === 1 ? '' : `key-${p}-${i}`)
}

function value(p, i) {
  if (i === RECORDS - 1) return large(LARGE, p)
  if (i % 11 === 3) return i % 5 === 0 ? Buffer.alloc(0) : null
  if (i % 13 === 4) return Buffer.alloc(0)
  let text = `value-${p}-${i}-`
  for (let j = 0; j < (i * 7) % 300; j++) text += String.fromCharCode(97 + ((i + j * j) % 26))
  return Buffer.from(text)
}

function headers(i) {
  const found = {}
  for (let k = 0; k < i % 3; k++) found[`h${k}`] = Buffer.from(`v-${i}-${k}`)
  if (i % 4 === 2) found.empty = Buffer.alloc(0)
  return found
}

function partition(p, count, base) {
  const records = []
  for (let i = 0; i < count; i++) {
    const timestamp = String(base + p * 1000 + i)
    records.push({ partition: p, key: key(p, i), value: value(p, i), headers: headers(i), timestamp })
  }
  return records
}

async function send(producer, topic, messages, compression) {
  const [answer] = await producer.send({ topic, messages, compression })
  if (answer.errorCode !== 0) throw new Error(`${topic}: error ${answer.errorCode}`)
}

async function produce(servers, prefix, codecs, base) {
  const kafka = new Kafka({ brokers: [servers], clientId: 'node', logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  const topics = codecs.map((codec) => ({ topic: `${prefix}-${codec}`, numPartitions: PARTITIONS }))
  topics.push({
    topic: `${prefix}-big`,
    numPartitions: 1,
    configEntries: [{ name: 'max.message.bytes', value: String(4 * MIB) }],
  })
  await admin.createTopics({ topics })

  const producer = kafka.producer()
  await producer.connect()
  for (const codec of codecs) {
    for (let p = 0; p < PARTITIONS; p++) {
      const records = partition(p, RECORDS, base)
      // Three requests, so that the large record has a batch of its own.
      await send(producer, `${prefix}-${codec}`, records.slice(0, 100), CODECS[codec])
      await send(producer, `${prefix}-${codec}`, records.slice(100, 199), CODECS[codec])
      await send(producer, `${prefix}-${codec}`, records.slice(199), CODECS[codec])
    }
  }
  for (let i = 0; i < 3; i++) {
    const record = { partition: 0, key: `big-${i}`, value: large(MIB, i), timestamp: String(base + i) }
    await send(producer, `${prefix}-big`, [record])
  }
  await send(producer, `${prefix}-auto`, partition(0, AUTO_RECORDS, base))
  for (const topic of [...codecs.map((codec) => `${prefix}-${codec}`), `${prefix}-big`, `${prefix}-auto`]) {
    const wanted = topic.endsWith('-big') ? 3 : topic.endsWith('-auto') ? AUTO_RECORDS : RECORDS
    for (const { partition: p, low, high } of await admin.fetchTopicOffsets(topic)) {
      if (low !== '0' || high !== String(wanted)) throw new Error(`${topic}-${p}: ${low} to ${high}, wanted ${wanted}`)
    }
  }
  await producer.disconnect()
  await admin.disconnect()
}

const [mode, servers, prefix, codecs, base] = process.argv.slice(2)
if (mode !== 'produce') throw new Error('this client only produces')
produce(servers, prefix, codecs.split(','), Number(base)).catch((error) => {
  console.error(error)
  process.exit(1)
})
