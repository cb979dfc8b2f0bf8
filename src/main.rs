use std::sync::Arc;
use threatguard::{config::service::Verdicts, core::{correlate::*, output::*, types::*}, edge::{TopicRole, file::*}, run::{embedded::*, learning::*, pipeline::*}, simulate::*};
struct Seen(std::collections::BTreeMap<(String,String),u64>, Vec<(EventTime,String,String,String,f64)>);
impl Observer for Seen {
    fn threat(&mut self, t:&ThreatRecord){ *self.0.entry((t.threat_type.clone(), t.severity.as_str().into())).or_default()+=1; }
    fn correlated(&mut self, o:&Correlated){ if let Correlated::Alert(a)=o { if a.revision==1 { self.1.push((a.last_seen,a.entity.clone(),a.threat_types.join("+"),a.severity.as_str().into(),a.risk_score)); } } }
}
fn main(){
    let args: Vec<String>=std::env::args().collect();
    let verdicts = if args.iter().any(|a| a=="json") {Verdicts::Json} else {Verdicts::None};
    let roles=[TopicRole::Threats,TopicRole::Alerts,TopicRole::Analytics,TopicRole::DeadLetters,TopicRole::Verdicts];
    let sink=JsonlSink::create(std::path::Path::new("/tmp/out"),&roles,Existing::Replace).unwrap();
    let t0=std::time::Instant::now();
    if args[1]=="sim" {
        let mut ps=vec![];
        for f in ["pipelines/network.yaml","pipelines/identity.yaml"] {
            let mut file=threatguard::config::pipeline::load(std::path::Path::new(f)).unwrap_or_else(|e|panic!("{e:?}"));
            for ip in threatguard::simulate::known::ALLOWED_SCANNERS.iter().chain(&threatguard::simulate::known::MANAGEMENT_HOSTS) { file.exempt.push(threatguard::core::settings::ExemptSettings{entity:format!("ip:{ip}"),detectors:vec![],reason:"allowed".into()}); }
            let asns=threatguard::simulate::known::VPN_ASNS.iter().chain(threatguard::simulate::known::RELAY_ASNS.iter()).chain(threatguard::simulate::known::SATELLITE_ASNS.iter()).copied();
            file.detectors.behavior.travel_exempt_asns.extend(asns);
            let p=Arc::new(Pipeline::open(file,None).unwrap());
            let l=Arc::new(Learning::new(&p,None,Some(std::path::Path::new(&format!("/tmp/models-{}",p.file.name)))).unwrap());
            ps.push((p,l));
        }
        let corr=Correlator::new("demo","security.threats",CorrelationSettings::default());
        let mut e=Embedded::new(ps,verdicts,sink,corr,Default::default()).unwrap();
        let sc=if args.iter().any(|a| a=="small"){Scenario::small()}else if args.iter().any(|a| a=="month"){Scenario::month()}else{Scenario::demo()};
        let mut sim=Simulator::new(&sc).unwrap();
        let mut seen=Seen(Default::default(),vec![]);
        let mut next=[0u64;2]; let mut buf=vec![]; let mut n=0;
        while let Some(em)=sim.next({buf.clear();&mut buf}) {
            let lane= if em.family==Family::Network {0} else {1};
            e.records(lane).push(Offset(next[lane]),Some(em.time),None,&buf); next[lane]+=1; n+=1;
            if n%2048==0 { e.step(&mut seen).unwrap(); }
        }
        e.step(&mut seen).unwrap();
        let s=e.finish().unwrap();
        for (k,v) in &seen.0 { println!("{k:?} {v}"); }
        let camps=sim.campaigns();
        let mut tp=0;
        for a in &seen.1 { let hit=camps.iter().find(|c| c.entities.contains(&a.1)); tp+=u64::from(hit.is_some()); println!("ALERT {} {} {} {} {:.1} {}",a.0,a.1,a.2,a.3,a.4,hit.map_or("FALSE".to_string(),|c|format!("{:?}/{:?}",c.kind,c.variant))); }
        println!("alerts {} true {}",seen.1.len(),tp);
        for c in camps { let f=seen.1.iter().find(|a| c.entities.contains(&a.1)&&a.0>=c.start); println!("{:?}/{:?} events {} entities {:?} start {} found {:?}",c.kind,c.variant,c.events,c.entities.iter().take(3).collect::<Vec<_>>(),c.start,f.map(|a|(a.0.to_string(),a.2.clone()))); }
        println!("{s:?} {:?}",t0.elapsed());
    } else {
        let mut file=threatguard::config::pipeline::load(std::path::Path::new(&args[1])).unwrap_or_else(|e|panic!("{e:?}"));
        file.learning.events=args.get(4).and_then(|a|a.parse().ok()).unwrap_or(2000);
        let p=Arc::new(Pipeline::open(file,Some(&args[3])).unwrap());
        let l=Arc::new(Learning::new(&p,None,None).unwrap());
        let corr=Correlator::new("demo","security.threats",CorrelationSettings::default());
        let mut e=Embedded::new(vec![(p.clone(),l)],verdicts,sink,corr,Default::default()).unwrap();
        let mut input=threatguard::run::framed::FramedInput::new(open_input(&args[2]).unwrap());
        let mut seen=Seen(Default::default(),vec![]);
        loop { let n=input.read(&p,e.records(0),2048).unwrap(); if n==0 {break} e.step(&mut seen).unwrap(); }
        let s=e.finish().unwrap();
        for (k,v) in &seen.0 { println!("{k:?} {v}"); }
        for a in seen.1.iter().take(20) { println!("ALERT {} {} {} {} {:.1}",a.0,a.1,a.2,a.3,a.4); }
        println!("{s:?}");
    }
}
